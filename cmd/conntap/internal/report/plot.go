// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"math"
	"strings"

	"conntap/cmd/conntap/internal/screen"
)

// frame is where a plot's parts are, in the image's own units.
type frame struct {
	Left, Right, Top, PlotHeight, LabelX, TimeY int
}

var plotFrame = frame{Left: 70, Right: 1110, Top: 10, PlotHeight: 180, LabelX: 62, TimeY: 210}

// plot is a stack of bars over time.
type plot struct {
	Title, Description string
	Width, Height      int
	Legend             []legend
	Levels             []level
	Times              []tick
	Areas              []area
	Bins               []hover
}

type legend struct {
	Group int
	Name  string
}

// level is a line across the plot.
type level struct {
	Y, TextY float64
	Text     string
}

// tick is a time below it.
type tick struct {
	X            float64
	Text, Anchor string
}

// area is all bars of a group.
type area struct {
	Group int
	Path  string
}

// hover is a bin's place, with its figures.
type hover struct {
	X, Width float64
	Text     string
}

// plots are connections, and bytes if there are any, over time.
func (t *Timeline) plots(sized bool) []plot {
	plots := []plot{t.plot("Connections over time", "connections began",
		func(b *Bin, g int) float64 { return float64(b.Connections[g]) },
		func(v float64) string { return screen.Count(uint64(math.Round(v))) })}
	if sized {
		plots = append(plots, t.plot("Bytes over time", "were carried",
			func(b *Bin, g int) float64 { return b.Bytes[g] },
			func(v float64) string { return screen.Bytes(uint64(math.Round(v))) }))
	}
	return plots
}

// plot draws what of gives of a bin and group, as text writes it.
func (t *Timeline) plot(title, verb string, of func(*Bin, int) float64, text func(float64) string) plot {
	p := plot{Title: title + ", " + t.each(), Width: plotFrame.Right + 10, Height: plotFrame.TimeY + 10}
	highest, peak := 0.0, 0
	sums, totals := make([]float64, len(t.Bins)), make([]float64, len(t.Groups))
	for i := range t.Bins {
		for g := range t.Groups {
			sums[i] += of(&t.Bins[i], g)
			totals[g] += of(&t.Bins[i], g)
		}
		if sums[i] > highest {
			highest, peak = sums[i], i
		}
	}
	p.Description = fmt.Sprintf("%s. At most %s %s from %s UTC on.", p.Title, text(highest), verb, clock(&t.Bins[peak].Start))
	top := p.addLevels(highest, text)
	for g, name := range t.Groups {
		if totals[g] > 0 {
			p.Legend = append(p.Legend, legend{g, name + ": " + text(totals[g])})
		}
	}
	p.addBars(t, top, of)
	for i := range t.Bins {
		x, width := t.place(i)
		p.Bins = append(p.Bins, hover{x, width, clock(&t.Bins[i].Start) + "  " + text(sums[i])})
	}
	p.addTimes(t)
	return p
}

// each says how wide bins are.
func (t *Timeline) each() string {
	return "by " + screen.Span(spanOf(t.Width))
}

// place is where a bin stands.
func (t *Timeline) place(i int) (x, width float64) {
	width = float64(plotFrame.Right-plotFrame.Left) / float64(len(t.Bins))
	return math.Round((float64(plotFrame.Left)+float64(i)*width)*100) / 100, math.Round(width*100) / 100
}

// addLevels draws lines at round values, and returns the one at the top.
func (p *plot) addLevels(highest float64, text func(float64) string) (top float64) {
	step := roundUp(highest / 4)
	top = step * math.Ceil(highest/step)
	for v := 0.0; v <= top+step/2; v += step {
		y := height(v, top)
		p.Levels = append(p.Levels, level{y, y + 4, text(v)})
	}
	return top
}

// roundUp is the next of 1, 2, 5, 10, 20, ...
func roundUp(v float64) float64 {
	if v <= 1 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, factor := range []float64{1, 2, 5} {
		if v <= factor*power {
			return factor * power
		}
	}
	return 10 * power
}

// height is how far down a value stands.
func height(v, top float64) float64 {
	return math.Round((float64(plotFrame.Top)+float64(plotFrame.PlotHeight)*(1-v/top))*100) / 100
}

// addBars draws the bars, each group on those before it.
func (p *plot) addBars(t *Timeline, top float64, of func(*Bin, int) float64) {
	below := make([]float64, len(t.Bins))
	for g := range t.Groups {
		var path strings.Builder
		for i := range t.Bins {
			v := of(&t.Bins[i], g)
			if v <= 0 {
				continue
			}
			x, width := t.place(i)
			gap := min(1, width*0.15)
			from, to := height(below[i], top), height(below[i]+v, top)
			fmt.Fprintf(&path, "M%.2f %.2fh%.2fV%.2fh-%.2fz", x, from, width-gap, to, width-gap)
			below[i] += v
		}
		if path.Len() > 0 {
			p.Areas = append(p.Areas, area{g, path.String()})
		}
	}
}

// tickSteps are between two times below a plot, in seconds.
var tickSteps = [...]float64{
	0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 2 * 3600, 6 * 3600, 12 * 3600,
	86400, 2 * 86400, 7 * 86400, 28 * 86400, 91 * 86400, 364 * 86400, 3640 * 86400, 36400 * 86400,
}

// addTimes writes some round times below the bars.
func (p *plot) addTimes(t *Timeline) {
	const most = 8
	start, total := t.Bins[0].Start, t.Width*float64(len(t.Bins))
	step := tickSteps[len(tickSteps)-1]
	for _, s := range tickSteps {
		if total/s <= most {
			step = s
			break
		}
	}
	layout := "15:04:05"
	switch {
	case step >= 86400:
		layout = "2006-01-02"
	case total > 86400:
		layout = "01-02 15:04"
	case step >= 60:
		layout = "15:04"
	case step < 1:
		layout = "15:04:05.00"
	}
	for v := math.Ceil(start/step) * step; v <= start+total; v += step {
		share := (v - start) / total
		anchor := "middle"
		switch {
		case share < 0.03:
			anchor = "start"
		case share > 0.97:
			anchor = "end"
		}
		x := float64(plotFrame.Left) + share*float64(plotFrame.Right-plotFrame.Left)
		p.Times = append(p.Times, tick{math.Round(x*100) / 100, at(v).Format(layout), anchor})
	}
}
