// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"conntap/collector"
)

// WriteCheck writes what a machine can do, what is in the way first.
func WriteCheck(w io.Writer, r *collector.Report) error {
	var b strings.Builder
	if !r.OK {
		fmt.Fprintf(&b, "cannot capture: %s\n", r.Problem)
		if r.AFPacket {
			b.WriteString("without BPF, run --capture afpacket can, at a higher cost\n")
		}
	}
	k := &r.Kernel
	fmt.Fprintf(&b, "%-8s %s   BTF %s  JIT %s  lockdown %s\n", "kernel", k.Release, okOrNone(k.BTF), k.JIT, k.Lockdown)
	fmt.Fprintf(&b, "%-8s %s\n", "rights", rights(&r.Rights))
	writeInterface(&b, &r.Interface)
	fmt.Fprintf(&b, "%-8s %s for %s, of %s (%s)\n", "ring", Memory(r.Ring.Bytes),
		Plural(uint64(r.Ring.CPUs), "CPU"), Memory(r.Ring.Memory), limit(r.Ring.MemoryLimit))
	fmt.Fprintf(&b, "%-8s %s; wall clock %s\n", "clock", r.Clock.Source, synchronised(r.Clock.Synchronised))
	if r.OK {
		fmt.Fprintf(&b, "%-8s %s\n", "process", process(&r.Process))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// process says whether owners can be had.
func process(r *collector.ProcessReport) string {
	if r.OK {
		return "--with process would work"
	}
	return "--with process would not: " + r.Problem
}

func okOrNone(ok bool) string {
	if ok {
		return "ok"
	}
	return "none (needed by --with process alone)"
}

func rights(r *collector.RightsReport) string {
	needed := strings.Join(r.Needed, ", ")
	switch {
	case len(r.Missing) > 0:
		return "missing: " + strings.Join(r.Missing, ", ") + " (try sudo)"
	case r.Root:
		return "ok (root; " + needed + " would do)"
	}
	return "ok (" + needed + ")"
}

// writeInterface writes the facts about the interface, the hooks that it would
// get, and a line for each program and setting in the way.
func writeInterface(b *strings.Builder, i *collector.InterfaceReport) {
	facts := []string{Plural(uint64(i.Queues), "queue"), fmt.Sprintf("MTU %d", i.MTU)}
	if i.Driver != "" {
		facts = slices.Insert(facts, 0, i.Driver)
	}
	for _, addr := range i.Addresses {
		facts = append(facts, addr.String())
	}
	if !i.Up {
		facts = append(facts, "down")
	}
	fmt.Fprintf(b, "%-8s %s%s\n", i.Name, strings.Join(facts, ", "), hooks(i))
	if len(i.Programs) == 0 {
		line(b, "no other XDP, TCX or clsact program")
	}
	for _, p := range i.Programs {
		line(b, "%s: %s", p.Hook, p)
	}
	for _, f := range i.Findings {
		line(b, "%-15s %-45s %s", f.Setting, f.Effect, f.Command)
	}
}

// line writes a line below a heading.
func line(b *strings.Builder, format string, args ...any) {
	b.WriteString(strings.TrimRight(fmt.Sprintf("%-9s"+format, append([]any{""}, args...)...), " ") + "\n")
}

func hooks(i *collector.InterfaceReport) string {
	var parts []string
	if i.Ingress != "" {
		part := "in: " + i.Ingress
		if !i.Certain {
			part += " if the driver has it, else TCX"
		}
		parts = append(parts, part)
	}
	if i.Egress != "" {
		parts = append(parts, "out: "+i.Egress)
	}
	if i.Promiscuous {
		parts = append(parts, "promiscuous")
	}
	if len(parts) == 0 {
		return ""
	}
	return "  ->  " + strings.Join(parts, ", ")
}

// Memory writes a size of memory, in the units in which it is sold.
func Memory(n uint64) string {
	switch {
	case n < 1<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	case n < 1<<30:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

func limit(n uint64) string {
	if n == 0 {
		return "container limit: none"
	}
	return "container limit: " + Memory(n)
}

func synchronised(ok bool) string {
	if ok {
		return "synchronised"
	}
	return "not synchronised"
}
