// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"math"
	"strconv"
	"time"

	"conntap/tracker"
)

// The summary for people. Into a pipe it is the line of Bro 1.x's manual:
//
//	Jul 12 18:18:43 128.32.162.134 7320b >] 206.132.179.35/http 38891b 54.4s
//
// on a terminal an aligned view with ports, state and history. Times are UTC.
// Sizes and duration are left out where they say little: S0, S1, REJ.

// Symbols are the signs between originator and responder, by state.
var symbols = [tracker.StateCount]string{
	tracker.OTH: "?>?", tracker.S0: "}", tracker.S1: ">", tracker.SF: ">", tracker.REJ: "[",
	tracker.S2: "}2", tracker.S3: "}3", tracker.RSTO: ">]", tracker.RSTR: ">[",
	tracker.RSTOS0: "}]", tracker.RSTRH: "<[", tracker.SH: ">h", tracker.SHR: "<h",
}

// Symbol is the sign that text writes between originator and responder.
func Symbol(s tracker.State) string {
	if int(s) < len(symbols) {
		return symbols[s]
	}
	return "?"
}

// sized says that a state's line has sizes and a duration.
func sized(s tracker.State) bool {
	return s != tracker.S0 && s != tracker.S1 && s != tracker.REJ
}

func (w *Writer) appendText(b []byte) []byte {
	if w.cfg.Terminal {
		return w.appendScreenLine(b)
	}
	c := w.row.conn
	b = w.startTime().AppendFormat(b, "Jan 02 15:04:05 ")
	b = appendAddr(b, &c.Orig.Addr)
	if sized(c.State) {
		b = append(appendSize(append(b, ' '), c, &c.Orig), 'b')
	}
	b = append(append(b, ' '), Symbol(c.State)...)
	b = appendAddr(append(b, ' '), &c.Resp.Addr)
	b = appendServiceName(append(b, '/'), c)
	if sized(c.State) {
		b = append(appendSize(append(b, ' '), c, &c.Resp), 'b')
		b = w.appendTenths(append(b, ' '))
	}
	b = w.appendAdditional(b)
	return append(b, '\n')
}

// startTime is the first packet's time, cut to seconds.
func (w *Writer) startTime() time.Time {
	return time.Unix(int64(math.Floor(w.row.start)), 0).UTC()
}

// appendTenths writes the duration as "54.4s".
func (w *Writer) appendTenths(b []byte) []byte {
	b = strconv.AppendFloat(b, max(w.row.duration, 0), 'f', 1, 64)
	return append(b, 's')
}

// widths are the columns of the aligned view, in characters. They grow with
// what was seen; what is wider than widest, such as a long IPv6 address, moves
// its own line only.
type widths struct {
	orig, origBytes, resp, respBytes, duration int
}

var (
	startWidths = widths{orig: 16, origBytes: 6, resp: 17, respBytes: 8, duration: 4}
	widest      = widths{orig: 24, origBytes: 12, resp: 30, respBytes: 12, duration: 8}
)

// appendScreenLine writes a line of the aligned view:
//
//	22:13:20  10.0.0.1:40000     412b  >   10.0.0.2:80/http     1256b  0.8s  SF    ShADadFf
func (w *Writer) appendScreenLine(b []byte) []byte {
	c := w.row.conn
	b = w.startTime().AppendFormat(b, "15:04:05  ")

	at := len(b)
	b = padRight(appendEndpoint(b, c, &c.Orig), at, &w.width.orig, widest.orig)
	at = len(b)
	if sized(c.State) {
		b = append(appendSize(b, c, &c.Orig), 'b')
	}
	b = padLeft(b, at, &w.width.origBytes, widest.origBytes)
	b = append(b, ' ', ' ')
	b = w.appendColored(b, Symbol(c.State), stateColor(c.State), 4)

	at = len(b)
	b = appendScreenService(appendEndpoint(b, c, &c.Resp), c)
	b = padRight(b, at, &w.width.resp, widest.resp)
	at = len(b)
	if sized(c.State) {
		b = append(appendSize(b, c, &c.Resp), 'b')
	}
	b = padLeft(b, at, &w.width.respBytes, widest.respBytes)
	b = append(b, ' ', ' ')
	at = len(b)
	if sized(c.State) {
		b = w.appendTenths(b)
	}
	b = padLeft(b, at, &w.width.duration, widest.duration)
	b = append(b, ' ', ' ')

	b = w.appendColored(b, c.State.String(), stateColor(c.State), 6)
	b = w.appendScreenHistory(b)
	return append(b, '\n')
}

// appendEndpoint writes address and port, if the protocol has ports; IPv6
// addresses in brackets then.
func appendEndpoint(b []byte, c *tracker.Conn, e *tracker.Endpoint) []byte {
	if c.Protocol != protocolTCP && c.Protocol != protocolUDP {
		return appendAddr(b, &e.Addr)
	}
	if isIPv4(&e.Addr) {
		b = appendAddr(b, &e.Addr)
	} else {
		b = append(appendAddr(append(b, '['), &e.Addr), ']')
	}
	return strconv.AppendUint(append(b, ':'), uint64(e.Port), 10)
}

// appendScreenService writes the service that the tracker found, else the
// port's name; nothing for a port without one, as the port stands there.
func appendScreenService(b []byte, c *tracker.Conn) []byte {
	switch {
	case c.Service != "":
		at := len(b) + 1
		return escapeZeek(append(append(b, '/'), c.Service...), at)
	case c.Protocol != protocolTCP && c.Protocol != protocolUDP:
		return appendServiceName(append(b, '/'), c)
	}
	if name := portName(c); name != "" {
		return append(append(b, '/'), name...)
	}
	return b
}

func (w *Writer) appendScreenHistory(b []byte) []byte {
	c := w.row.conn
	color := ""
	if c.MissedBytes > 0 {
		color = bold
	}
	b = w.colorOn(b, color)
	b = append(b, c.History...)
	b = w.colorOff(b, color)
	if w.cfg.With&UID != 0 {
		b = c.UID.Append(append(b, ' ', ' '))
	}
	if c.Additional != "" {
		at := len(b) + 2
		b = escapeZeek(append(append(b, ' ', ' '), c.Additional...), at)
	}
	return b
}

// padRight fills what stands in b from at on with blanks to *width and one gap;
// *width grows with the text, up to limit.
func padRight(b []byte, at int, width *int, limit int) []byte {
	n := len(b) - at
	if n <= limit {
		*width = max(*width, n)
	}
	return appendBlanks(b, max(*width-n, 0)+1)
}

// padLeft shifts what stands in b from at on to the right, to *width.
func padLeft(b []byte, at int, width *int, limit int) []byte {
	n := len(b) - at
	if n <= limit {
		*width = max(*width, n)
	}
	pad := *width - n
	if pad <= 0 {
		return b
	}
	b = appendBlanks(b, pad)
	copy(b[at+pad:], b[at:at+n])
	for i := at; i < at+pad; i++ {
		b[i] = ' '
	}
	return b
}

func appendBlanks(b []byte, n int) []byte {
	for range n {
		b = append(b, ' ')
	}
	return b
}

// Select graphic rendition sequences (ECMA-48).
const (
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	bold   = "\x1b[1m"
	reset  = "\x1b[0m"
)

// stateColor is red for what was refused or aborted, yellow for what nobody
// answered.
func stateColor(s tracker.State) string {
	switch s {
	case tracker.REJ, tracker.RSTO, tracker.RSTR, tracker.RSTOS0, tracker.RSTRH:
		return red
	case tracker.S0, tracker.SH, tracker.SHR:
		return yellow
	}
	return ""
}

// appendColored writes text in color, filled with blanks to width.
func (w *Writer) appendColored(b []byte, text, color string, width int) []byte {
	b = w.colorOn(b, color)
	b = append(b, text...)
	b = w.colorOff(b, color)
	return appendBlanks(b, max(width-len(text), 0))
}

func (w *Writer) colorOn(b []byte, color string) []byte {
	if !w.cfg.Color {
		return b
	}
	return append(b, color...)
}

func (w *Writer) colorOff(b []byte, color string) []byte {
	if !w.cfg.Color || color == "" {
		return b
	}
	return append(b, reset...)
}
