// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // it could not be done, or not all of it
	exitUsage   = 2 // the command line makes no sense
)

// usageError is a mistake in the command line.
type usageError struct {
	command string
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// errSaid ends the program with exitFailure without a message: the command has
// said what there is to say.
var errSaid = errors.New("said already")

// execute runs the command line args and returns the exit code.
func execute(args []string) int {
	root := newRootCommand()
	root.SetArgs(withoutAlias(args))
	err := root.Execute()
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		for _, mistake := range each(usage.err) {
			tell(mistake.Error())
		}
		fmt.Fprintf(os.Stderr, "Try '%s --help'.\n", usage.command)
		return exitUsage
	case !errors.Is(err, errSaid):
		for line := range strings.SplitSeq(err.Error(), "\n") { // of joined errors, one each
			tell(line)
		}
	}
	return exitFailure
}

// each returns the errors that err joins, or err alone: one may have several lines.
func each(err error) (all []error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	for _, err := range joined.Unwrap() {
		all = append(all, each(err)...)
	}
	return all
}

// tell says a sentence on standard error.
func tell(sentence string) { fmt.Fprintln(os.Stderr, "conntap:", sentence) }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "conntap",
		Short: "Every connection on a Linux interface or in a capture file, one line each",
		Long: `Every connection on a Linux interface or in a capture file, one line each,
exactly as Zeek's conn.log says it.`,
		Example: `  conntap read capture.pcap            # a capture file; no privileges needed
  sudo conntap run -i eth0             # live, until Ctrl-C
  sudo conntap top -i eth0             # watch it on the terminal
  sudo conntap check -i eth0           # can this machine do it, and how?
  conntap explain RSTO ShADadtR        # what does that mean?
  conntap report conn.log              # who talked most, what failed?
  sudo conntap bench                   # how fast is it here?

  conntap -r capture.pcap              # short for conntap read
  sudo conntap -i eth0                 # short for conntap run`,
		Args:                       noSuchCommand,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
		Version:                    versionText(),
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		SilenceUsage:               true,
	}
	useSections(root)
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	root.AddCommand(newReadCommand(), newRunCommand(), newTopCommand(), newCheckCommand(), newExplainCommand(), newReportCommand(),
		newBenchCommand(), newVersionCommand(), newManCommand())
	completeFlags(root)
	return root
}

// usage marks err as a mistake in the command line of c.
func usage(c *cobra.Command, err error) error {
	return &usageError{c.CommandPath(), err}
}

// noSuchCommand refuses arguments of the root command; of a file it says what
// to type.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if _, err := os.Stat(args[0]); err == nil {
		return usage(c, fmt.Errorf("%q is a file, no command: conntap read %s", args[0], strings.Join(args, " ")))
	}
	text := fmt.Sprintf("no command %q", args[0])
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text += ", did you mean " + strings.Join(near, " or ") + "?"
	}
	return usage(c, errors.New(text))
}

// withoutAlias puts the command in front of args that lack one: -r, alone or
// among other short flags, is short for read, -i for run.
func withoutAlias(args []string) []string {
	if len(args) == 0 || !strings.HasPrefix(args[0], "-") {
		return args
	}
	for _, arg := range args {
		if strings.HasPrefix(arg, "--") || !strings.HasPrefix(arg, "-") {
			continue
		}
		switch letters := arg[1:]; {
		case strings.HasPrefix(strings.TrimLeft(letters, "Cq"), "r"):
			return append([]string{"read"}, args...)
		case strings.HasPrefix(strings.TrimLeft(letters, "Cq"), "i"):
			return append([]string{"run"}, args...)
		}
	}
	return args
}
