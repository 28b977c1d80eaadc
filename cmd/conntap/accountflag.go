// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/pflag"

// accountFlag says how much of the account is given at the end.
type accountFlag struct{ account choice }

func (f *accountFlag) register(fs *pflag.FlagSet) {
	f.account = choice{"short", []string{"short", "full"}}
	fs.Var(&f.account, "account", "what is said at the end of where all packets went: short: what is out of the\n"+
		"ordinary; full: all, by interface, hook and CPU")
}

// full tells whether all of it is wanted.
func (f *accountFlag) full() bool { return f.account.value == "full" }
