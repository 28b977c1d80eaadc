// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"conntap/bpf"
	"conntap/collector"
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
	// Elapsed is how long reading took; 0 for live capture.
	Elapsed time.Duration
	// Live asks for the full balance of frames, lost ones included.
	Live bool
}

// WriteTo writes the account in a few lines.
func (a *Account) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	a.writeTitle(&b)
	a.writeBalance(&b)
	a.writeConnections(&b)
	a.writeDamage(&b)
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
		b.WriteString(", " + period(a.First, a.Last))
	}
	b.WriteByte('\n')
}

// writeBalance says where all frames went. Of a file that gave a packet for
// every frame it says so in two words.
func (a *Account) writeBalance(b *strings.Builder) {
	skipped, reasons := a.skipped()
	if !a.Live && skipped == 0 && a.Frames.Filtered == 0 && a.Frames.Lost == 0 {
		return
	}
	fmt.Fprintf(b, "  seen %s = recorded %s", Count(a.Frames.Seen), Count(a.Frames.Recorded))
	if a.Live || a.Frames.Filtered > 0 {
		fmt.Fprintf(b, " + filtered %s", Count(a.Frames.Filtered))
	}
	fmt.Fprintf(b, " + skipped %s%s", Count(skipped), reasons)
	if a.Live || a.Frames.Lost > 0 {
		fmt.Fprintf(b, " + lost %s", Count(a.Frames.Lost))
	}
	b.WriteByte('\n')
}

// skipped adds up the skipped frames and lists their reasons, the most frequent
// first.
func (a *Account) skipped() (total uint64, list string) {
	var reasons []bpf.Reason
	for r, n := range a.Frames.Skipped {
		if n > 0 {
			total += n
			reasons = append(reasons, bpf.Reason(r))
		}
	}
	if total == 0 {
		return 0, ""
	}
	slices.SortStableFunc(reasons, func(x, y bpf.Reason) int {
		return cmp.Compare(a.Frames.Skipped[y], a.Frames.Skipped[x])
	})
	words := make([]string, len(reasons))
	for i, r := range reasons {
		words[i] = strings.ReplaceAll(r.String(), "_", " ") + " " + Count(a.Frames.Skipped[r])
	}
	return total, " (" + strings.Join(words, ", ") + ")"
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

func (a *Account) writeDamage(b *strings.Builder) {
	var words []string
	if n := a.Connections.BadChecksums; n > 0 {
		words = append(words, "bad checksums: "+Count(n))
	}
	if n := a.Connections.MissedBytes; n > 0 {
		words = append(words, fmt.Sprintf("gaps: %s in %s", Bytes(n), Plural(a.Gapped, "connection")))
	}
	closed := &a.Connections.Closed
	if n := a.Omitted; n > 0 {
		words = append(words, "of transports that the profile leaves out: "+Count(n))
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
