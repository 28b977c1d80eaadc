// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"conntap/bpf"
	"conntap/collector"
)

// writeBalance says where all frames went. Of a file that gave a packet for
// every frame it says nothing.
func (a *Account) writeBalance(b *strings.Builder) {
	c := &a.Frames.Counters
	if a.Live || a.Full || c.Seen != c.Recorded {
		fmt.Fprintf(b, "  %s\n", a.balance(c))
	}
}

// balance is an equation of frames. Files filter and lose nothing unless they say so.
func (a *Account) balance(c *bpf.Counters) string {
	text := fmt.Sprintf("seen %s = recorded %s", Count(c.Seen), Count(c.Recorded))
	if a.Live || c.Filtered > 0 {
		text += " + filtered " + Count(c.Filtered)
	}
	skipped, reasons := skipped(c)
	text += " + skipped " + Count(skipped) + reasons
	if a.Live || c.Lost > 0 {
		text += " + lost " + Count(c.Lost)
	}
	if c.Lost > 0 {
		text += " (ring full)"
	}
	return text
}

// skipped adds up the skipped frames and lists their reasons, the most frequent
// first.
func skipped(c *bpf.Counters) (total uint64, list string) {
	var reasons []bpf.Reason
	for r, n := range c.Skipped {
		if n > 0 {
			total += n
			reasons = append(reasons, bpf.Reason(r))
		}
	}
	if total == 0 {
		return 0, ""
	}
	slices.SortStableFunc(reasons, func(x, y bpf.Reason) int { return cmp.Compare(c.Skipped[y], c.Skipped[x]) })
	words := make([]string, len(reasons))
	for i, r := range reasons {
		words[i] = strings.ReplaceAll(r.String(), "_", " ") + " " + Count(c.Skipped[r])
	}
	return total, " (" + strings.Join(words, ", ") + ")"
}

// lossesMax is how many CPUs that lost frames the short account lists.
const lossesMax = 4

// writeHooks breaks the balance down: by interface if there are several, by hook and
// CPU where most frames were lost, or everywhere.
func (a *Account) writeHooks(b *strings.Builder) {
	sums := collector.SumByInterface(a.Hooks)
	for i := range sums {
		if !a.Full && len(sums) > 1 {
			fmt.Fprintf(b, "    %s: %s\n", sums[i].Interface, a.balance(&sums[i].Counters))
		}
	}
	rows, more := a.Hooks, 0
	if !a.Full {
		rows = mostLost(rows)
		more = max(len(rows)-lossesMax, 0)
		rows = rows[:len(rows)-more]
	}
	for i := range rows {
		h := &rows[i]
		fmt.Fprintf(b, "    %s %s, CPU %d: %s\n", h.Interface, direction(h.Hook), h.CPU, a.balance(&h.Counters))
	}
	if more > 0 {
		fmt.Fprintf(b, "    and so on, %s in all: --account full\n", Count(uint64(len(rows)+more)))
	}
	if a.Frames.Lost > 0 {
		b.WriteString("    a larger --ring-size bridges bursts; --filter and --sample make less of it\n")
	}
}

// mostLost are the rows with losses, the worst first.
func mostLost(rows []collector.HookStats) (lost []collector.HookStats) {
	for _, h := range rows {
		if h.Lost > 0 {
			lost = append(lost, h)
		}
	}
	slices.SortStableFunc(lost, func(x, y collector.HookStats) int { return cmp.Compare(y.Lost, x.Lost) })
	return lost
}

// direction is the hook in the words of --direction.
func direction(h bpf.Hook) string {
	if h == bpf.HookTCEgress {
		return "out"
	}
	return "in"
}

// writeDevices says what the interfaces dropped by themselves.
func (a *Account) writeDevices(b *strings.Builder) {
	for _, d := range a.Devices {
		var words []string
		for _, c := range []struct {
			name string
			n    uint64
		}{{"rx_dropped", d.Dropped}, {"rx_missed_errors", d.Missed}, {"rx_fifo_errors", d.FIFO}} {
			if c.n > 0 || a.Full {
				words = append(words, c.name+" "+Count(c.n))
			}
		}
		if len(words) > 0 {
			fmt.Fprintf(b, "  beside that, by the counters of %s: %s\n", d.Interface, strings.Join(words, ", "))
		}
	}
}

// writePackets says where the packets of the records went, if not all are in
// connections.
func (a *Account) writePackets(b *strings.Builder) {
	c := &a.Connections
	if !a.Full && c.Duplicates == 0 && (!a.Live || c.Packets == c.Counted) {
		return
	}
	if a.Full {
		fmt.Fprintf(b, "  records %s + joined from fragments %s = packets %s + notes %s\n",
			Count(c.Records), Count(c.Joined), Count(c.Packets), Count(c.Notes))
	}
	fmt.Fprintf(b, "  packets %s = in connections %s", Count(c.Packets), Count(c.Counted))
	for _, part := range []struct {
		name string
		n    uint64
	}{
		{"fragments", c.Fragments},
		{"carriers of tunnels", c.Carriers},
		{"not in a tunnel after all", c.Inner},
		{"malformed", c.Malformed},
		{"bad checksum", c.BadChecksums},
		{"cut", c.Truncated},
		{"duplicates", c.Duplicates},
	} {
		if part.n > 0 || a.Full {
			fmt.Fprintf(b, " + %s %s", part.name, Count(part.n))
		}
	}
	b.WriteByte('\n')
}

// writeRings says how full the rings were and how soon they were read.
func (a *Account) writeRings(b *strings.Builder) {
	if !a.Full || !a.Live {
		return
	}
	for _, r := range a.Rings {
		name := "ring"
		if r.CPU >= 0 {
			name = fmt.Sprintf("ring of CPU %d", r.CPU)
		}
		fmt.Fprintf(b, "  %s: %s, full to %.1f %% at most\n", name, Memory(r.Size), 100*float64(r.Highest)/float64(max(r.Size, 1)))
	}
	l := &a.Latency
	fmt.Fprintf(b, "  read within %s (half of the packets), %s (99 %%), %s (99.9 %%), %s (all)\n",
		milliseconds(l.Quantile(0.5)), milliseconds(l.Quantile(0.99)), milliseconds(l.Quantile(0.999)), milliseconds(l.Longest))
}

func milliseconds(d time.Duration) string {
	ms := d.Seconds() * 1e3
	if ms < 10 {
		return fmt.Sprintf("%.2g ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}
