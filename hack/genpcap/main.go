// SPDX-License-Identifier: Apache-2.0

// Command genpcap writes captures for examples, tests and measurements. Its
// output depends on its arguments alone.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
)

const usage = `usage: genpcap first FILE                            the small capture of the README
       genpcap mix [--packets N] [--seed N] FILE     mixed traffic, for benchmarks
       genpcap flows [--connections N] FILE          N live TCP connections, for memory
       genpcap flood [--sources N] [--ports N] [--sessions N] [--seed N] FILE
                                                     a SYN flood and a scan beside real sessions
       genpcap churn [--packets N] FILE              connections that come and go, for memory
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		if errors.Is(err, errUsage) {
			fmt.Fprint(os.Stderr, usage)
			os.Exit(2)
		}
		fmt.Fprintln(os.Stderr, "genpcap:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("wrong arguments")

func run(args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	flags := flag.NewFlagSet("genpcap "+args[0], flag.ExitOnError)
	packets := flags.Int("packets", 3_000_000, "packets to write")
	seed := flags.Uint64("seed", 1, "start of the random numbers")
	connections := flags.Int("connections", 1_000_000, "connections to write")
	sources := flags.Int("sources", 5_000_000, "sources of the SYN flood")
	ports := flags.Int("ports", 65_536, "ports of the scan")
	sessions := flags.Int("sessions", 1000, "sessions beside them")
	_ = flags.Parse(args[1:])
	if flags.NArg() != 1 {
		return errUsage
	}
	var generate func(w *writer)
	switch args[0] {
	case "first":
		generate = writeFirst
	case "mix":
		generate = func(w *writer) { writeMix(w, *packets, *seed) }
	case "flows":
		generate = func(w *writer) { writeFlows(w, *connections) }
	case "flood":
		generate = func(w *writer) { writeFlood(w, *sources, *ports, *sessions, *seed) }
	case "churn":
		generate = func(w *writer) { writeChurn(w, *packets) }
	default:
		return errUsage
	}
	return writeFile(flags.Arg(0), generate)
}

func writeFile(path string, generate func(w *writer)) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	buffer := bufio.NewWriterSize(file, 1<<20)
	w := newWriter(buffer)
	generate(w)
	return errors.Join(w.err, buffer.Flush(), file.Close())
}
