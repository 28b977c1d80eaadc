// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// sectionKey is the annotation of a flag that says under which heading help has it.
const sectionKey = "section"

// section puts the flags that were added since the last one under a heading of help.
func section(fs *pflag.FlagSet, heading string) {
	fs.VisitAll(func(flag *pflag.Flag) {
		if len(flag.Annotations[sectionKey]) == 0 {
			_ = fs.SetAnnotation(flag.Name, sectionKey, []string{heading})
		}
	})
}

// flagSections are the flags as help has them, in their order.
func flagSections(fs *pflag.FlagSet) string {
	var headings []string
	flags := make(map[string]*pflag.FlagSet)
	fs.VisitAll(func(flag *pflag.Flag) {
		heading := "Flags"
		if is := flag.Annotations[sectionKey]; len(is) > 0 {
			heading = is[0]
		}
		if flags[heading] == nil {
			headings = append(headings, heading)
			flags[heading] = pflag.NewFlagSet(heading, pflag.ContinueOnError)
			flags[heading].SortFlags = false
		}
		flags[heading].AddFlag(flag)
	})
	var text strings.Builder
	for _, heading := range headings {
		if usages := flags[heading].FlagUsages(); usages != "" {
			text.WriteString("\n\n" + heading + ":\n" + strings.TrimRight(usages, "\n"))
		}
	}
	return strings.TrimLeft(text.String(), "\n")
}

// useSections has the help of a command and of those below it show flags in sections.
func useSections(root *cobra.Command) {
	cobra.AddTemplateFunc("flagSections", flagSections)
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(),
		"Flags:\n{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}", "{{flagSections .LocalFlags}}", 1))
}
