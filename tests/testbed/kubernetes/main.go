// SPDX-FileCopyrightText: The mlops.onprem authors
// SPDX-License-Identifier: Apache-2.0

// The programs of the test bed's Kubernetes cluster in one binary, which runs the one that it is called by.
// Most of their code is the same, so that one link is built in a third of the time and takes a third of the space.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	_ "time/tzdata" // for the time zones of CronJobs

	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/ready"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// command runs one of Kubernetes' programs, without the flags that CoreDNS puts among everyone's.
func command(make func() *cobra.Command) func() {
	return func() {
		flags := flag.NewFlagSet(os.Args[0], flag.ExitOnError)
		flag.VisitAll(func(registered *flag.Flag) {
			if !slices.Contains(corednsFlags, registered.Name) {
				flags.Var(registered.Value, registered.Name, registered.Usage)
			}
		})
		flag.CommandLine = flags
		os.Exit(cli.Run(make()))
	}
}

var corednsFlags = []string{"conf", "dns.port", "p", "pidfile", "plugins", "quiet", "version"}

var programs = map[string]func(){
	"coredns":                 coremain.Run,
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kube-apiserver":          command(apiserver.NewAPIServerCommand),
	"kube-controller-manager": command(controllers.NewControllerManagerCommand),
	"kube-proxy":              command(proxy.NewProxyCommand),
	"kube-scheduler":          command(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubelet":                 command(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
	"volume-provisioner":      command(newProvisionerCommand),
}

func main() {
	name := filepath.Base(os.Args[0])
	run, known := programs[name]
	if !known {
		names := make([]string, 0, len(programs))
		for name := range programs {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintf(os.Stderr, "%s: this program goes by one of the names %v\n", name, names)
		os.Exit(2)
	}
	run()
}
