// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// completeFlags has shells complete what the flags of c and of the commands below it
// take: words, interfaces, directories.
func completeFlags(c *cobra.Command) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if complete := completion(f); complete != nil {
			_ = c.RegisterFlagCompletionFunc(f.Name, complete) // the flag is there, and new to it
		}
	})
	for _, below := range c.Commands() {
		completeFlags(below)
	}
}

// completion is what completes a flag's value; nil for files.
func completion(f *pflag.Flag) cobra.CompletionFunc {
	switch value := f.Value.(type) {
	case *choice:
		return cobra.FixedCompletions(value.of, cobra.ShellCompDirectiveNoFileComp)
	case *choices:
		return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			return completeList(value.of, typed), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
	}
	switch f.Name {
	case "interface":
		return completeInterface
	case "log-dir":
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	case "config", "svg", "html":
		return nil
	}
	return cobra.NoFileCompletions
}

// completeList adds to a list with commas each word that is not in it.
func completeList(words []string, typed string) (completions []string) {
	list := ""
	if comma := strings.LastIndexByte(typed, ','); comma >= 0 {
		list = typed[:comma+1]
	}
	for _, word := range words {
		if !strings.Contains(","+list, ","+word+",") {
			completions = append(completions, list+word)
		}
	}
	return completions
}

// completeInterface knows the interfaces of this network namespace.
func completeInterface(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names := make([]string, len(interfaces))
	for i := range interfaces {
		names[i] = interfaces[i].Name
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
