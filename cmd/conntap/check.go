// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"conntap/cmd/conntap/internal/config"
	"conntap/cmd/conntap/internal/screen"
	"conntap/collector"
)

// checkFlags are the flags of check.
type checkFlags struct {
	interfaces []string
	netns      string // "" for the process's
	asJSON     bool
	config     string // "" to check the machine
}

func newCheckCommand() *cobra.Command {
	f := &checkFlags{}
	c := &cobra.Command{
		Use:   "check [-i INTERFACE]...",
		Short: "Say whether this machine can capture, and how",
		Long: `Say whether this machine can capture on an interface, and how: kernel, BTF, JIT,
rights, the hooks that run would get, other programs there, offloads that hide
something, each with the command that mends it. Nothing is attached or changed.
Without -i: on all that are up.

The exit code is 0 if run would work, 1 if not; without -i, if it would work on any.

With --config: whether the file and the environment are what run understands, and
what it would go by, with where each value comes from. The exit code is 0 if so,
2 if not.`,
		Example: `  sudo conntap check
  sudo conntap check -i eth0
  sudo conntap check -i eth0 --json | jq
  sudo conntap check --netns 4711     # of the container that process 4711 is in
  conntap check --config /etc/conntap/conntap.toml`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case f.config != "" && (len(f.interfaces) > 0 || f.netns != ""):
				return usage(c, errors.New("--config checks what run would go by, -i and --netns the machine: one at a time"))
			case f.config != "":
				return checkConfig(c, f)
			case len(f.interfaces) == 0:
				return checkAll(f)
			}
			return check(f)
		},
	}
	c.Flags().StringArrayVarP(&f.interfaces, "interface", "i", nil, "network interface `name`; repeat it for several")
	netnsFlag(c.Flags(), &f.netns)
	c.Flags().BoolVar(&f.asJSON, "json", false, "as JSON objects, one a line")
	c.Flags().StringVar(&f.config, config.FileFlag, "", "check the configuration in this `file` for run, instead of the machine")
	return c
}

// checkConfig finds mistakes in a configuration of run, and prints what it comes to.
func checkConfig(c *cobra.Command, f *checkFlags) error {
	run, flags := runCommand()
	flags.file = f.config
	if err := flags.complete(run); err != nil {
		return usage(c, err)
	}
	if err := flags.load(flags.seed); err != nil {
		return usage(c, flags.settings.Locate(err))
	}
	if f.asJSON {
		return flags.settings.WriteJSON(os.Stdout)
	}
	_, err := flags.settings.WriteTo(os.Stdout)
	fmt.Printf("# memory: %s\n", &flags.plan)
	return err
}

// check reports on each interface; an error says that there is one on which run
// would not work.
func check(f *checkFlags) error {
	capable, err := printCheck(f)
	if err == nil && capable < len(f.interfaces) {
		return errSaid
	}
	return err
}

// checkAll reports on all interfaces that are up, but loopback; an error says
// that run would work on none of them.
func checkAll(f *checkFlags) error {
	var err error
	if f.interfaces, err = collector.InterfacesUp(f.netns); err != nil {
		return err
	}
	if len(f.interfaces) == 0 {
		return errors.New("no interface is up but loopback: ip link set NAME up, or -i lo")
	}
	capable, err := printCheck(f)
	if err == nil && capable == 0 {
		return errSaid
	}
	return err
}

// printCheck prints a report on each interface and counts those on which run would
// work.
func printCheck(f *checkFlags) (capable int, err error) {
	for n, name := range f.interfaces {
		r, err := collector.Check(f.netns, name)
		if err != nil {
			return capable, err
		}
		if r.OK {
			capable++
		}
		if n > 0 && !f.asJSON {
			fmt.Println()
		}
		if err := printReport(r, f.asJSON); err != nil {
			return capable, err
		}
	}
	return capable, nil
}

func printReport(r *collector.Report, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	return screen.WriteCheck(os.Stdout, r)
}
