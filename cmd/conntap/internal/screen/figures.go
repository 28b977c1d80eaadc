// SPDX-License-Identifier: Apache-2.0

// Package screen is what conntap says beside its rows: the account at the end,
// the status line, the progress bar, and how figures look in them.
package screen

import (
	"fmt"
	"strconv"
	"time"
)

// Count writes n with a comma between thousands.
func Count(n uint64) string {
	digits := strconv.Itoa(int(n % 1000))
	if n < 1000 {
		return digits
	}
	return fmt.Sprintf("%s,%03s", Count(n/1000), digits)
}

// Bytes writes a number of bytes with a decimal unit, as disks and links have.
func Bytes(n uint64) string {
	if n < 1000 {
		return strconv.FormatUint(n, 10) + " bytes"
	}
	return scaled(float64(n), "B")
}

// Rate writes a number per second with its unit: 12.4 kpps, 81 Mbit/s.
func Rate(perSecond float64, unit string) string {
	if perSecond < 1000 {
		return strconv.FormatFloat(perSecond, 'f', 0, 64) + " " + unit
	}
	return scaled(perSecond, unit)
}

// scaled writes v, at least 1000, with a prefix and at most three digits before
// the point, one after it below 100.
func scaled(v float64, unit string) string {
	v, prefix := Scale(v)
	decimals := 0
	if v < 99.95 {
		decimals = 1
	}
	return strconv.FormatFloat(v, 'f', decimals, 64) + " " + prefix + unit
}

// Scale takes thousands off v until three digits are before the point, and says by
// which decimal prefix; none for what has no more.
func Scale(v float64) (scaled float64, prefix string) {
	const prefixes = "kMGTPE"
	for i := 0; v >= 999.5 && i < len(prefixes); i++ {
		v, prefix = v/1000, prefixes[i:i+1]
	}
	return v, prefix
}

// Span writes how long something lasted, in the unit that people would choose.
func Span(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.2g s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
	return fmt.Sprintf("%.1f days", d.Hours()/24)
}

// Period writes two times, in ns since 1970, as a period in UTC; the second
// without its date if that is the first one's.
func Period(from, to int64) string {
	const date, clock = "2006-01-02", "15:04:05"
	a, b := time.Unix(0, from).UTC(), time.Unix(0, to).UTC()
	end := b.Format(clock)
	if a.Format(date) != b.Format(date) {
		end = b.Format(date + " " + clock)
	}
	return fmt.Sprintf("%s to %s UTC (%s)", a.Format(date+" "+clock), end, Span(b.Sub(a)))
}

// Plural writes a count and its noun, which takes an s unless the count is 1.
func Plural(n uint64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return Count(n) + " " + noun
}
