// SPDX-License-Identifier: Apache-2.0

package top

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"conntap/bpf"
	"conntap/cmd/conntap/internal/screen"
)

// short writes a number in five characters at most, the last one a decimal prefix:
// 999, 1.2k, 88M.
func short(v float64) string {
	v, prefix := screen.Scale(v)
	decimals := 0
	if prefix != "" && v < 9.95 {
		decimals = 1
	}
	return strconv.FormatFloat(v, 'f', decimals, 64) + prefix
}

// span writes how long something has lasted, in six characters at most.
func span(ns int64) string {
	switch d := time.Duration(max(ns, 0)); {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%02d:%02d", int(d.Minutes()), int(d.Seconds())%60)
	case d < 100*time.Hour:
		return fmt.Sprintf("%dh%02d", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

func addrText(a *bpf.Addr) string { return netip.AddrFrom16(*a).Unmap().String() }

// endpointText is an address with its port, if the transport has ports.
func endpointText(a *bpf.Addr, port uint16, protocol uint8) string {
	addr := netip.AddrFrom16(*a).Unmap()
	if !hasPorts(protocol) {
		return addr.String()
	}
	return netip.AddrPortFrom(addr, port).String()
}

// bars are the levels of a sparkline.
var bars = []rune("▁▂▃▄▅▆▇█")

// sparkline draws the last values of a series in so many characters, the highest of
// them as the highest bar.
func sparkline(series []float64, width int) string {
	series = series[max(0, len(series)-width):]
	highest := 0.0
	for _, v := range series {
		highest = max(highest, v)
	}
	var b strings.Builder
	for _, v := range series {
		level := 0
		if highest > 0 {
			level = int(v / highest * float64(len(bars)-1))
		}
		b.WriteRune(bars[min(max(level, 0), len(bars)-1)])
	}
	return b.String()
}

// fill cuts text to width, the cut marked, or fills it with blanks, on the left if
// it is a number.
func fill(text string, width int, number bool) string {
	if n := ansi.StringWidth(text); n < width {
		blanks := strings.Repeat(" ", width-n)
		if number {
			return blanks + text
		}
		return text + blanks
	}
	return ansi.Truncate(text, width, "…")
}
