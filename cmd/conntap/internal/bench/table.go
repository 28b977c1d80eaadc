// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"conntap/cmd/conntap/internal/screen"
	"conntap/collector"
)

// tableColumns are the heads of the table's columns, in two lines, and their
// widths.
var tableColumns = []struct {
	head, unit string
	width      int
}{
	{"mode", "", -12},
	{"records", "", -11},
	{"offered", "Mpps", 8},
	{"logged", "Mpps", 8},
	{"lost", "", 11},
	{"lossless", "Mpps", 9},
	{"of the", "baseline", 9},
	{"kernel", "ns/packet", 10},
	{"user", "ns/record", 10},
	{"delay", "ms, p99.9", 10},
	{"delay", "ms, max", 8},
	{"ring", "fill", 6},
}

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	b.WriteString(r.Title() + "\n")
	heads, units := make([]string, len(tableColumns)), make([]string, len(tableColumns))
	for i, column := range tableColumns {
		heads[i], units[i] = column.head, column.unit
	}
	writeCells(&b, heads)
	writeCells(&b, units)
	for i := range r.Rows {
		writeCells(&b, r.cells(&r.Rows[i]))
	}
	r.writeNotes(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// Title names the machine and the load: no figure means anything without.
func (r *Report) Title() string {
	parts := []string{
		fmt.Sprintf("%s, kernel %s, %s", r.Machine.CPU, r.Machine.Kernel, screen.Plural(uint64(r.Machine.CPUs), "CPU")),
	}
	if r.Interface != "" {
		parts = append(parts, "traffic of "+r.Interface, screen.Span(r.Load.Duration))
		return strings.Join(parts, "; ") + r.bestOf()
	}
	parts = append(parts, fmt.Sprintf("veth, %d-byte UDP frames, %s, %s", r.Load.Size,
		screen.Plural(uint64(r.Load.Flows), "flow"), r.Load.describeRate()))
	if r.Load.Packets > 0 {
		parts = append(parts, screen.Plural(r.Load.Packets, "packet"))
	} else {
		parts = append(parts, screen.Span(r.Load.Duration))
	}
	return strings.Join(parts, "; ") + r.bestOf()
}

func (r *Report) bestOf() string {
	if r.Rounds == 1 {
		return ", one round"
	}
	return fmt.Sprintf(", best of %d interleaved rounds", r.Rounds)
}

// describeRate says how many frames come from how many CPUs.
func (l *Load) describeRate() string {
	producers := screen.Plural(uint64(l.Producers), "CPU")
	if l.Rate == 0 {
		return "as fast as " + producers + " can make them"
	}
	return screen.Rate(l.Rate, "pps") + " from " + producers
}

// cells are a row of the table; what there is no figure for is "-".
func (r *Report) cells(row *Row) []string {
	cells := []string{row.Name, "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"}
	if row.Transport != "" {
		cells[1] = string(row.Transport)
	}
	if row.Error != "" {
		return cells
	}
	cells[2] = mpps(row.OfferedRate)
	if row.KernelNS > 0 {
		cells[7] = fmt.Sprintf("%.0f", row.KernelNS)
	}
	if row.Name == baselineName {
		return cells
	}
	cells[3], cells[4] = mpps(row.LoggedRate), lostShare(&row.Account)
	if row.LosslessRate > 0 {
		cells[5] = mpps(row.LosslessRate)
	}
	if base := r.baselineRate(); base > 0 {
		cells[6] = fmt.Sprintf("%.0f %%", 100*row.LoggedRate/base)
	}
	cells[8] = fmt.Sprintf("%.0f", row.UserNS)
	cells[9], cells[10] = milliseconds(row.Latency.P999), milliseconds(row.Latency.Max)
	cells[11] = fmt.Sprintf("%.0f %%", 100*row.RingFill)
	return cells
}

// baselineRate is the best rate of the baseline, 0 if it was not measured.
func (r *Report) baselineRate() float64 {
	for i := range r.Rows {
		if r.Rows[i].Name == baselineName {
			return r.Rows[i].OfferedRate
		}
	}
	return 0
}

func mpps(rate float64) string { return fmt.Sprintf("%.2f", rate/1e6) }

func milliseconds(ns int64) string { return fmt.Sprintf("%.1f", float64(ns)/1e6) }

// lostShare is the share of what was offered that is in no logged connection:
// 0 only if there was none.
func lostShare(a *Account) string {
	if a.Offered <= a.Logged {
		return "0"
	}
	return fmt.Sprintf("%.3g %%", 100*float64(a.Offered-a.Logged)/float64(a.Offered))
}

func writeCells(b *strings.Builder, cells []string) {
	var line strings.Builder
	for i, cell := range cells {
		fmt.Fprintf(&line, "%*s", tableColumns[i].width, cell)
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// writeNotes writes what stands below the table: the account of all packets, and
// what the machine itself did.
func (r *Report) writeNotes(b *strings.Builder) {
	var sum Account
	var steal, pause float64
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Name == baselineName {
			sum.Refused += row.Account.Refused
			continue
		}
		sum.add(&row.Account)
		steal, pause = max(steal, row.Steal), max(pause, row.PauseNS)
	}
	fmt.Fprintf(b, "all rounds: offered %s = logged %s + lost %s; refused by veth %s\n", screen.Count(sum.Offered),
		screen.Count(sum.Logged), screen.Count(sum.Lost.Total()), screen.Count(sum.Refused))
	for i := range r.Rows {
		r.Rows[i].writeLosses(b)
		if r.Rows[i].Error != "" {
			fmt.Fprintf(b, "%s: not measured: %s\n", &r.Rows[i], r.Rows[i].Error)
		}
	}
	fmt.Fprintf(b, "steal %.1f %% at most, stops by garbage collection %.2g ms at most\n", 100*steal, pause/1e6)
	if problem := r.Imbalance(); problem != nil {
		fmt.Fprintf(b, "NOT BALANCED: %v\n", problem)
	}
}

// writeLosses says where a row's packets were lost, if any.
func (row *Row) writeLosses(b *strings.Builder) {
	var parts []string
	for _, place := range row.Account.Lost.places() {
		if place.packets > 0 {
			parts = append(parts, place.name+" "+screen.Count(place.packets))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(b, "%s: lost %s of %s: %s\n", row, screen.Count(row.Account.Lost.Total()),
			screen.Count(row.Account.Offered), strings.Join(parts, ", "))
	}
}

// place is where packets were lost.
type place struct {
	name    string
	packets uint64
}

func (l *Losses) places() []place {
	return []place{
		{"driver", l.Driver},
		{"ring", l.Ring},
		{"filtered", l.Filtered},
		{"skipped", l.Skipped},
		{"tracker", l.Tracker},
	}
}

// String is the row's name and transport.
func (row *Row) String() string { return subjectName(row.Name, row.Transport) }

// subjectName is how a row is named in running text.
func subjectName(name string, t collector.Transport) string {
	if t == "" {
		return name
	}
	return name + " " + string(t)
}

// nothing is an error if no row could be measured.
func (r *Report) nothing() error {
	var errs []error
	for i := range r.Rows {
		if r.Rows[i].Error == "" {
			return nil
		}
		errs = append(errs, fmt.Errorf("measuring %s: %s", &r.Rows[i], r.Rows[i].Error))
	}
	return errors.Join(errs...)
}

// Failed names the rows that could not be measured; it is nil if all were.
func (r *Report) Failed() error {
	var names []string
	for i := range r.Rows {
		if r.Rows[i].Error != "" {
			names = append(names, r.Rows[i].String())
		}
	}
	if names == nil {
		return nil
	}
	return fmt.Errorf("not measured: %s", strings.Join(names, ", "))
}

// Imbalance is an error if packets are unaccounted for, which is a fault of
// conntap or of the kernel, whatever the load.
func (r *Report) Imbalance() error {
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Missing != 0 {
			a := &row.Account
			return fmt.Errorf("%s: offered %s, but logged %s + lost %s: %+d packets unaccounted for", row,
				screen.Count(a.Offered), screen.Count(a.Logged), screen.Count(a.Lost.Total()), row.Missing)
		}
	}
	return nil
}
