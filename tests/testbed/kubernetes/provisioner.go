// SPDX-FileCopyrightText: The mlops.onprem authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const selectedNode = "volume.kubernetes.io/selected-node"

// localVolumes makes volumes of type `local`, each a directory of the node that it runs on. Every node runs its own
// and sees to the claims whose first Pod the scheduler has put there. Being `local`, they honour fsGroup.
type localVolumes struct {
	node      string
	directory string
}

var (
	_ controller.Provisioner   = localVolumes{}
	_ controller.Qualifier     = localVolumes{}
	_ controller.DeletionGuard = localVolumes{}
)

func (p localVolumes) ShouldProvision(_ context.Context, claim *core.PersistentVolumeClaim) bool {
	return claim.Annotations[selectedNode] == p.node
}

func (p localVolumes) ShouldDelete(_ context.Context, volume *core.PersistentVolume) bool {
	return volume.Annotations[selectedNode] == p.node
}

func (p localVolumes) Provision(
	_ context.Context, options controller.ProvisionOptions,
) (*core.PersistentVolume, controller.ProvisioningState, error) {
	for _, mode := range options.PVC.Spec.AccessModes {
		if mode != core.ReadWriteOnce && mode != core.ReadWriteOncePod {
			return nil, controller.ProvisioningFinished, fmt.Errorf("a volume on one node can't be %s", mode)
		}
	}
	if mode := options.PVC.Spec.VolumeMode; mode != nil && *mode != core.PersistentVolumeFilesystem {
		return nil, controller.ProvisioningFinished, fmt.Errorf("volume mode %s is not to be had here", *mode)
	}
	path := filepath.Join(p.directory, options.PVName)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	filesystem := core.PersistentVolumeFilesystem
	volume := &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: options.PVName, Annotations: map[string]string{selectedNode: p.node}},
		Spec: core.PersistentVolumeSpec{
			AccessModes:                   options.PVC.Spec.AccessModes,
			Capacity:                      core.ResourceList{core.ResourceStorage: options.PVC.Spec.Resources.Requests[core.ResourceStorage]},
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			VolumeMode:                    &filesystem,
			PersistentVolumeSource:        core.PersistentVolumeSource{Local: &core.LocalVolumeSource{Path: path}},
			NodeAffinity: &core.VolumeNodeAffinity{Required: &core.NodeSelector{NodeSelectorTerms: []core.NodeSelectorTerm{{
				MatchExpressions: []core.NodeSelectorRequirement{{
					Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{p.node},
				}},
			}}}},
		},
	}
	return volume, controller.ProvisioningFinished, nil
}

func (p localVolumes) Delete(_ context.Context, volume *core.PersistentVolume) error {
	if volume.Spec.Local == nil || filepath.Dir(volume.Spec.Local.Path) != filepath.Clean(p.directory) {
		return &controller.IgnoredError{Reason: "not a volume of this node's directory"}
	}
	return os.RemoveAll(volume.Spec.Local.Path)
}

func newProvisionerCommand() *cobra.Command {
	var kubeconfig, name string
	var volumes localVolumes
	command := &cobra.Command{
		Use:          "volume-provisioner",
		Short:        "Makes volumes in a directory of the node that it runs on",
		SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error {
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return err
			}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return err
			}
			ctx := klog.NewContext(command.Context(), klog.Background())
			controller.NewProvisionController(ctx, client, name, volumes, controller.LeaderElection(false)).Run(ctx)
			return nil
		},
	}
	flags := command.Flags()
	flags.StringVar(&kubeconfig, "kubeconfig", "", "how the API server is reached")
	flags.StringVar(&name, "provisioner", "", "the provisioner's name in storage classes")
	flags.StringVar(&volumes.node, "node", "", "the node that this runs on")
	flags.StringVar(&volumes.directory, "directory", "", "where the volumes are made")
	return command
}
