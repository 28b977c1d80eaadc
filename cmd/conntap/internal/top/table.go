// SPDX-License-Identifier: Apache-2.0

package top

import (
	"slices"
	"strings"

	"charm.land/lipgloss/v2"

	"conntap/tracker"
)

// column is one of a table of T.
type column[T any] struct {
	title  string
	least  int     // width in characters
	most   int     // what it may grow to where there is room
	rank   int     // the columns of the highest ranks go first where there is none
	by     []Order // the orders that go by it: then it stays
	number bool
	text   func(*T) string
	style  func(*T) lipgloss.Style // nil: none
}

// layout are the columns that fit into width, with their widths. A column grows with
// what is in it.
func layout[T any](columns []column[T], rows []T, width int) ([]column[T], []int) {
	fit := slices.Clone(columns)
	need := func() int {
		sum := len(fit) - 1 // gaps
		for _, c := range fit {
			sum += c.least
		}
		return sum
	}
	for len(fit) > 1 && need() > width {
		last := 0
		for i := range fit {
			if fit[i].rank > fit[last].rank {
				last = i
			}
		}
		fit = slices.Delete(fit, last, last+1)
	}
	widths := make([]int, len(fit))
	for i := range fit {
		widths[i] = min(fit[i].least, width)
	}
	grow(fit, widths, rows, width-need())
	return fit, widths
}

// grow gives the columns what room is left, as far as their texts need it.
func grow[T any](columns []column[T], widths []int, rows []T, room int) {
	for i := range columns {
		if room <= 0 {
			return
		}
		want := widths[i]
		for k := range rows {
			want = max(want, len(columns[i].text(&rows[k])))
		}
		more := min(want, columns[i].most) - widths[i]
		if more = min(more, room); more > 0 {
			widths[i] += more
			room -= more
		}
	}
}

// header is the table's first line.
func header[T any](columns []column[T], widths []int) string {
	cells := make([]string, len(columns))
	for i, c := range columns {
		cells[i] = fill(c.title, widths[i], c.number)
	}
	return strings.Join(cells, " ")
}

// line is a row of the table; of a selected one every cell looks the same.
func line[T any](columns []column[T], widths []int, row *T, selected bool) string {
	cells := make([]string, len(columns))
	for i, c := range columns {
		cells[i] = fill(c.text(row), widths[i], c.number)
		if c.style != nil && !selected {
			cells[i] = c.style(row).Render(cells[i])
		}
	}
	return strings.Join(cells, " ")
}

// keepOrdered gives the columns that an order goes by the rank of the first ones.
func keepOrdered[T any](columns []column[T], o Order) []column[T] {
	for i := range columns {
		if slices.Contains(columns[i].by, o) {
			columns[i].rank = 0
		}
	}
	return columns
}

// connectionColumns are those of open connections, or of logged ones, in an order.
func connectionColumns(ended bool, o Order) []column[Row] {
	columns := []column[Row]{
		{title: "ORIGINATOR", least: 21, most: 47, rank: 0, text: func(r *Row) string { return endpointText(&r.Orig.Addr, r.Orig.Port, r.Protocol) }},
		{title: "RESPONDER", least: 20, most: 47, rank: 0, text: func(r *Row) string { return endpointText(&r.Resp.Addr, r.Resp.Port, r.Protocol) }},
		{title: "SERVICE", least: 8, most: 16, rank: 2, text: serviceText},
		{title: "STATE", least: 6, rank: 1, text: func(r *Row) string { return r.State.String() }, style: func(r *Row) lipgloss.Style { return stateStyle(r.State) }},
		{title: "HISTORY", least: 10, most: 24, rank: 7, text: func(r *Row) string { return string(r.History) }, style: historyStyle},
		{title: "SENT", least: 5, rank: 4, number: true, text: func(r *Row) string { return short(float64(r.Orig.IPBytes)) }},
		{title: "RECVD", least: 5, rank: 4, number: true, text: func(r *Row) string { return short(float64(r.Resp.IPBytes)) }},
		{title: "PACKETS", least: 7, rank: 6, by: []Order{ByPackets}, number: true, text: func(r *Row) string { return short(float64(packets(&r.Conn))) }},
		{title: "BIT/S", least: 5, rank: 3, number: true, text: rateText},
		{title: "AGE", least: 6, rank: 5, by: []Order{ByAge, ByStart}, number: true, text: func(r *Row) string { return span(r.Age) }},
	}
	if ended {
		columns = slices.Delete(columns, 8, 9)
		columns[8].title = "LASTED"
	}
	return keepOrdered(columns, o)
}

func serviceText(r *Row) string {
	if r.Service != "" {
		return r.Service
	}
	return protocolName(r.Protocol)
}

func rateText(r *Row) string {
	if !r.RateKnown {
		return "-"
	}
	return short(r.BitRate)
}

// talkerColumns are those of hosts and of pairs.
func talkerColumns(alone bool, o Order) []column[Talker] {
	columns := []column[Talker]{
		{title: "HOST", least: 21, most: 39, rank: 0, text: func(t *Talker) string { return addrText(&t.A) }},
		{title: "AND", least: 20, most: 39, rank: 0, text: func(t *Talker) string { return addrText(&t.B) }},
		{title: "BIT/S", least: 6, rank: 1, number: true, text: func(t *Talker) string { return short(t.BitRate) }},
		{title: "SENT", least: 6, rank: 2, number: true, text: func(t *Talker) string { return short(float64(t.Sent)) }},
		{title: "RECVD", least: 6, rank: 3, number: true, text: func(t *Talker) string { return short(float64(t.Received)) }},
		{title: "PACKETS", least: 7, rank: 4, by: []Order{ByPackets}, number: true, text: func(t *Talker) string { return short(float64(t.Packets)) }},
		{title: "OPEN", least: 6, rank: 5, by: []Order{ByConnections}, number: true, text: func(t *Talker) string { return short(float64(t.Open)) }},
		{title: "LOGGED", least: 6, rank: 6, number: true, text: func(t *Talker) string { return short(float64(t.Logged)) }},
	}
	if alone {
		columns = slices.Delete(columns, 1, 2)
	}
	return keepOrdered(columns, o)
}

// stateStyle is red for what was refused or aborted, yellow for what nobody
// answered, as in the text format.
func stateStyle(s tracker.State) lipgloss.Style {
	switch s {
	case tracker.REJ, tracker.RSTO, tracker.RSTR, tracker.RSTOS0, tracker.RSTRH:
		return redStyle
	case tracker.S0, tracker.SH, tracker.SHR:
		return yellowStyle
	}
	return plainStyle
}

// historyStyle is bold for what lacks payload.
func historyStyle(r *Row) lipgloss.Style {
	if r.MissedBytes > 0 {
		return boldStyle
	}
	return plainStyle
}
