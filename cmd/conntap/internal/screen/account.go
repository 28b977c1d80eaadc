// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"fmt"
	"io"
	"strings"
	"time"

	"conntap/collector"
	"conntap/collector/host"
	"conntap/tracker"
)

// Account is what conntap says of its work at the end.
type Account struct {
	// Title is what the account is of: a file's name, or how the capture ended.
	Title string
	// Size is the input's length in bytes, on disk; 0 if that is unknown.
	Size int64
	// Frames are the frames of the source; fragments that gave no connection
	// are among the skipped.
	Frames collector.Stats
	// First and Last are the times of the earliest and the latest packet, ns
	// since 1970; both 0 for none, and for live capture.
	First, Last int64
	// Connections is the tracker's account after its Close.
	Connections tracker.Stats
	// Gapped is how many connections lack payload.
	Gapped uint64
	// Omitted is how many connections the log's profile has no rows for.
	Omitted uint64
	// Dropped is how many rows were dropped, as the log's disk did not take them.
	Dropped uint64
	// HeldRows and HeldPackets are the connections that the limit of rows kept out of
	// the log, and their packets.
	HeldRows, HeldPackets uint64
	// Sample says that one connection in so many was recorded; 0 and 1: all.
	Sample uint32
	// Elapsed is how long reading took; 0 for live capture.
	Elapsed time.Duration
	// Live asks for the balance of frames even if all were recorded.
	Live bool

	// What follows is of live capture alone: the frames by interface, hook and CPU,
	// what the interfaces dropped by themselves, the rings, and how soon they were
	// read.
	Hooks   []collector.HookStats
	Devices []collector.DeviceDrops
	Rings   []collector.RingFill
	Latency collector.Latency
	// Disturbances are what happened to conntap's time.
	Disturbances host.Disturbances
	// Full asks for all of that and for the balance of packets, not only for what is
	// out of the ordinary.
	Full bool
}

// WriteTo writes the account in a few lines.
func (a *Account) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	a.writeTitle(&b)
	a.writeBalance(&b)
	a.writeHooks(&b)
	a.writeDevices(&b)
	a.writePackets(&b)
	a.writeSample(&b)
	a.writeConnections(&b)
	a.writeRows(&b)
	a.writeDamage(&b)
	a.writeDisturbances(&b)
	a.writeRings(&b)
	a.writeSpeed(&b)
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func (a *Account) writeTitle(b *strings.Builder) {
	b.WriteString(a.Title)
	if !a.Live {
		b.WriteString(": " + Plural(a.Frames.Seen, "packet"))
	}
	if a.Size > 0 {
		b.WriteString(", " + Bytes(uint64(a.Size)))
	}
	if a.First != 0 {
		b.WriteString(", " + Period(a.First, a.Last))
	}
	b.WriteByte('\n')
}

// writeSample says that what follows is of a part.
func (a *Account) writeSample(b *strings.Builder) {
	if a.Sample > 1 {
		fmt.Fprintf(b, "  sample 1/%d: what was left out is among the filtered\n", a.Sample)
	}
}

// writeConnections lists the states in the order in which people think of them:
// complete, attempted, refused, open, aborted, the rest.
func (a *Account) writeConnections(b *strings.Builder) {
	order := [...]tracker.State{
		tracker.SF, tracker.S0, tracker.REJ, tracker.S1, tracker.S2, tracker.S3, tracker.RSTO,
		tracker.RSTR, tracker.RSTOS0, tracker.RSTRH, tracker.SH, tracker.SHR, tracker.OTH,
	}
	var total uint64
	for _, s := range order {
		total += a.Connections.LoggedAs(s)
	}
	fmt.Fprintf(b, "  %s", Plural(total, "connection"))
	gap := "   "
	for _, s := range order {
		if n := a.Connections.LoggedAs(s); n > 0 {
			fmt.Fprintf(b, "%s%s %s", gap, s, Count(n))
			gap = "  "
		}
	}
	b.WriteByte('\n')
}

// writeRows counts the rows that there are beside one per connection, or are not.
func (a *Account) writeRows(b *strings.Builder) {
	if a.HeldRows > 0 {
		fmt.Fprintf(b, "  of these without a row, by --max-rows-per-second: %s, one-sided, with %s\n",
			Count(a.HeldRows), Plural(a.HeldPackets, "packet"))
	}
	if n := a.Connections.Interim; n > 0 {
		fmt.Fprintf(b, "  %s of long connections, beside them\n", Plural(n, "interim record"))
	}
}

func (a *Account) writeDamage(b *strings.Builder) {
	var words []string
	if n := a.Connections.BadChecksums; n > 0 {
		words = append(words, "bad checksums: "+Count(n))
	}
	if n := a.Connections.MissedBytes; n > 0 {
		words = append(words, fmt.Sprintf("gaps: %s in %s", Bytes(n), Plural(a.Gapped, "connection")))
	}
	if n := a.Frames.Late; n > 0 {
		words = append(words, "out of order, tracked all the same: "+Plural(n, "packet"))
	}
	closed := &a.Connections.Closed
	if n := a.Omitted; n > 0 {
		words = append(words, "of transports that the profile leaves out: "+Count(n))
	}
	if n := a.Dropped; n > 0 {
		words = append(words, "not in the log, the disk did not take them: "+Plural(n, "row"))
	}
	if n := closed[tracker.CauseUnanswered] + closed[tracker.CauseIdle]; n > 0 {
		words = append(words, "logged early, the table was full: "+Count(n))
	}
	if len(words) > 0 {
		b.WriteString("  " + strings.Join(words, "   ") + "\n")
	}
}

// writeSpeed tells the rate of a long run; that of a short one says nothing.
func (a *Account) writeSpeed(b *strings.Builder) {
	if a.Elapsed < 300*time.Millisecond {
		return
	}
	perSecond := float64(a.Frames.Seen) / a.Elapsed.Seconds()
	fmt.Fprintf(b, "  read in %s, %s\n", Span(a.Elapsed), Rate(perSecond, "pps"))
}

// writeDisturbances tells what happened to conntap's time.
func (a *Account) writeDisturbances(b *strings.Builder) {
	var words []string
	d := &a.Disturbances
	if n := d.ForwardSteps; n > 0 {
		words = append(words, fmt.Sprintf("the wall clock was stepped forward: %s, %s", Plural(n, "time"), Span(d.Forward)))
	}
	if n := d.BackSteps; n > 0 {
		words = append(words, fmt.Sprintf("the wall clock was stepped back: %s, %s", Plural(n, "time"), Span(d.Back)))
	}
	if n := d.Suspends; n > 0 {
		words = append(words, fmt.Sprintf("the machine slept: %s, %s", Plural(n, "time"), Span(d.Suspended)))
	}
	if t := d.Throttling; t.Periods > 0 {
		words = append(words, fmt.Sprintf("throttled by the CPU quota: %s, %s", Plural(t.Periods, "period"), Span(t.Time)))
	}
	if len(words) > 0 {
		b.WriteString("  " + strings.Join(words, "   ") + "\n")
	}
}
