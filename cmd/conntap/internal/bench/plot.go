// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The plot's measures, in pixels.
const (
	plotWidth  = 860
	plotTop    = 64  // above the bars
	plotLeft   = 190 // beside them, for the names
	plotBar    = 22
	plotStep   = 34
	plotLength = 430 // of the longest bar
)

// WritePlot writes the rates of the best rounds as an SVG image, a bar a row:
// what was logged, and what was lost.
func (r *Report) WritePlot(w io.Writer) error {
	height := plotTop + len(r.Rows)*plotStep + 40
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" `+
		`font-family="sans-serif" font-size="13">`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", plotWidth, height)
	machine, load, _ := strings.Cut(r.Title(), "; ")
	plotText(&b, 16, 24, "start", machine)
	plotText(&b, 16, 44, "start", load)
	highest := 1.0
	for i := range r.Rows {
		highest = max(highest, r.Rows[i].OfferedRate)
	}
	for i := range r.Rows {
		r.Rows[i].plot(&b, plotTop+i*plotStep, plotLength/highest)
	}
	plotLegend(&b, plotTop+len(r.Rows)*plotStep+8)
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// The colours, which differ in brightness too.
const (
	colorLogged   = "#2b6cb0"
	colorLost     = "#e2574c"
	colorBaseline = "#b8b8b8"
)

// plot draws one bar, so many pixels a packet per second long.
func (row *Row) plot(b *strings.Builder, y int, scale float64) {
	plotText(b, plotLeft-10, y+16, "end", row.String())
	if row.Error != "" {
		plotText(b, plotLeft, y+16, "start", "not measured")
		return
	}
	end, label := float64(plotLeft), mpps(row.OfferedRate)+" Mpps"
	bar := func(rate float64, color string) {
		fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", end, y, rate*scale, plotBar, color)
		end += rate * scale
	}
	if row.Name == baselineName {
		bar(row.OfferedRate, colorBaseline)
	} else {
		bar(row.LoggedRate, colorLogged)
	}
	if lost := row.OfferedRate - row.LoggedRate; row.Name != baselineName && lost > 0 {
		bar(lost, colorLost)
		label = fmt.Sprintf("%s of %s, %.3g %% lost", mpps(row.LoggedRate), label, 100*lost/row.OfferedRate)
	}
	plotText(b, int(end)+8, y+16, "start", label)
}

func plotLegend(b *strings.Builder, y int) {
	x := plotLeft
	for _, entry := range []struct{ color, text string }{
		{colorLogged, "logged"},
		{colorLost, "lost"},
		{colorBaseline, "reads the clock and drops"},
	} {
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="12" height="12" fill="%s"/>`+"\n", x, y, entry.color)
		plotText(b, x+18, y+11, "start", entry.text)
		x += 90
	}
}

func plotText(b *strings.Builder, x, y int, anchor, text string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="%s">`, x, y, anchor)
	_ = xml.EscapeText(b, []byte(text)) // a strings.Builder takes all
	b.WriteString("</text>\n")
}
