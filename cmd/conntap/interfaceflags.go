// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"

	"github.com/spf13/pflag"

	"conntap/collector"
)

// interfaceFlags say which interfaces are captured.
type interfaceFlags struct {
	interfaces []string
	all, wait  bool
	netns      string
}

func (f *interfaceFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVarP(&f.interfaces, "interface", "i", nil, "`name` of a network interface, or a pattern such as 'veth*' for all that there are\n"+
		"and will be; '!eth3' leaves out; several, each with its -i, feed one log")
	fs.BoolVar(&f.all, "all", false, "all interfaces, also those that come later, but loopback and those whose packets\n"+
		"another one shows: ports of bonds and bridges, VLANs on an interface, tunnels")
	fs.BoolVar(&f.wait, "wait", false, "wait for interfaces that are named and not there; otherwise an error at the start")
	netnsFlag(fs, &f.netns)
}

// netnsFlag adds the flag that names a network namespace.
func netnsFlag(fs *pflag.FlagSet, netns *string) {
	fs.StringVar(netns, "netns", "", "the interfaces are in that network namespace: its `name` (ip netns), its path, or\n"+
		"the id of a process in it")
}

// check finds what the flags can't mean.
func (f *interfaceFlags) check() error {
	if len(f.interfaces) == 0 && !f.all {
		return errors.New("no interface given: -i NAME (ip link lists them), or --all")
	}
	return collector.CheckInterfaces(f.interfaces, f.all)
}
