// SPDX-FileCopyrightText: The mlops.onprem authors
// SPDX-License-Identifier: Apache-2.0

// Holds a Pod's namespaces open: the one process of its sandbox. It ends when it is told to, and buries orphans where
// a Pod shares its process namespace.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
