// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"strconv"

	"conntap/tracker"
)

// The classic connection summaries of Bro 1.x ("red" files):
//
//	start duration service bytes-sent bytes-received local remote state flags [additional]
//
// The bytes are the originator's and the responder's; the addresses are local
// and remote. The originator is local if it lies in the user's nets, and then
// the flags have an L; otherwise the responder counts as local.

func (w *Writer) appendRed(b []byte) []byte {
	c := w.row.conn
	b = appendFixed(b, w.row.start)
	b = w.appendRedDuration(append(b, ' '))
	b = appendServiceName(append(b, ' '), c)
	b = appendSize(append(b, ' '), c, &c.Orig)
	b = appendSize(append(b, ' '), c, &c.Resp)

	local, remote, far := &c.Resp, &c.Orig, &w.row.seen.Orig
	isLocal := w.local.contains(&w.row.seen.Orig.Addr)
	if isLocal {
		local, remote, far = remote, local, &w.row.seen.Resp
	}
	b = appendAddr(append(b, ' '), &local.Addr)
	b = appendAddr(append(b, ' '), &remote.Addr)
	b = append(append(b, ' '), c.State.String()...)
	b = appendRedFlags(append(b, ' '), isLocal, w.near.contains(&far.Addr))
	b = w.appendAdditional(b)
	return append(b, '\n')
}

// appendRedDuration writes seconds with 6 significant digits, or ? for TCP
// that nobody closed or reset.
func (w *Writer) appendRedDuration(b []byte) []byte {
	c := w.row.conn
	if c.Protocol == protocolTCP && c.Orig.TCP < tracker.TCPClosed && c.Resp.TCP < tracker.TCPClosed {
		return append(b, '?')
	}
	return appendSignificant(b, max(w.row.duration, 0))
}

// appendSignificant writes v as C's %.6g.
func appendSignificant(b []byte, v float64) []byte {
	return strconv.AppendFloat(b, v, 'g', 6, 64)
}

// appendSize writes a side's bytes, or ? if they are 0 and it isn't a TCP side
// that sent its FIN, whose 0 is certain.
func appendSize(b []byte, c *tracker.Conn, e *tracker.Endpoint) []byte {
	if e.Bytes > 0 || c.Protocol == protocolTCP && e.TCP == tracker.TCPClosed {
		return strconv.AppendUint(b, e.Bytes, 10)
	}
	return append(b, '?')
}

func appendRedFlags(b []byte, local, neighbor bool) []byte {
	if local {
		b = append(b, 'L')
	}
	if neighbor {
		b = append(b, 'U')
	}
	if !local && !neighbor {
		b = append(b, 'X')
	}
	return b
}

// appendAdditional writes what ends a red or text line: history (- if it is
// empty) and uid if asked for, then what the callback set, on one line.
func (w *Writer) appendAdditional(b []byte) []byte {
	c := w.row.conn
	if w.cfg.With&History != 0 {
		b = appendHistory(append(b, ' '), c)
	}
	if w.cfg.With&UID != 0 {
		b = c.UID.Append(append(b, ' '))
	}
	if c.Additional != "" {
		b = append(b, ' ')
		at := len(b)
		b = escapeZeek(append(b, c.Additional...), at)
	}
	return b
}

func appendHistory(b []byte, c *tracker.Conn) []byte {
	if len(c.History) == 0 {
		return append(b, unsetField...)
	}
	return append(b, c.History...)
}
