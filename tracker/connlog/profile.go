// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"errors"
	"slices"

	"conntap/tracker"
)

// Profile is whose conn.log the columns, states and letters of tsv and json are.
type Profile uint8

// The profiles.
const (
	Zeek8 Profile = iota
	// Bro26 is what Bro 2.6 documents, as far as the log alone can show it: no
	// column ip_proto, no rows of unknown transports, no letters G and X, RSTOS0 for
	// any reset by the originator whose responder kept silent, and local columns
	// that know the user's networks alone. What is counted stays Zeek 8's.
	Bro26
)

var profileNames = []string{"zeek-8", "bro-2.6"}

// String is the profile's name on the command line.
func (p Profile) String() string { return nameOf(profileNames, int(p)) }

// ParseProfile reads a profile's name.
func ParseProfile(name string) (Profile, error) {
	i, err := parseName("profile", profileNames, name)
	return Profile(i), err
}

// chooseBro26 takes out what Bro 2.6 has no column for.
func chooseBro26(columns []column, fields []string) ([]column, error) {
	const later = "ip_proto"
	if slices.Contains(fields, later) {
		return nil, errors.New("no field is called \"" + later + "\" in the profile " + Bro26.String())
	}
	return slices.DeleteFunc(columns, func(c column) bool { return c.name == later }), nil
}

// older makes connections what Bro 2.6 calls them.
type older struct {
	conn    tracker.Conn
	history []byte
	omitted uint64
}

// of is c in the words of Bro 2.6, valid until the next call; nil if it has no row.
func (o *older) of(c *tracker.Conn) *tracker.Conn {
	switch c.Protocol {
	case protocolTCP, protocolUDP, protocolICMP, protocolICMPv6:
	default:
		o.omitted++
		return nil
	}
	o.conn = *c
	o.history = o.history[:0]
	for _, letter := range c.History {
		switch letter {
		case 'G', 'g', 'X', 'x':
		default:
			o.history = append(o.history, letter)
		}
	}
	o.conn.History = o.history
	if c.State == tracker.OTH && resetInSilence(c) {
		o.conn.State = tracker.RSTOS0
	}
	return &o.conn
}

// resetInSilence tells whether the originator has sent a RST and nothing is known
// of the responder's handshake (Bro 2.6 base/protocols/conn/main.bro, conn_state).
func resetInSilence(c *tracker.Conn) bool {
	silent := c.Resp.TCP == tracker.TCPInactive || c.Resp.TCP == tracker.TCPPartial
	return c.Protocol == protocolTCP && c.Orig.TCP == tracker.TCPReset && silent
}

// Omitted is how many connections Write has left out, as the profile has no rows
// for their transport.
func (w *Writer) Omitted() uint64 { return w.older.omitted }
