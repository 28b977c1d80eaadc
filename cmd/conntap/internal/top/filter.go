// SPDX-License-Identifier: Apache-2.0

package top

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"conntap/bpf"
	"conntap/tracker"
)

// Filter says which connections are on the screen. The zero value lets all pass.
type Filter struct {
	text  string
	terms []term
}

// term is a word of a filter.
type term struct {
	not      bool
	key      string       // what it looks at; "" for all
	word     string       // in lower case
	prefix   netip.Prefix // if the word is one
	isPrefix bool
}

var filterKeys = []string{"host", "port", "proto", "state", "service"}

// ParseFilter reads a filter: words that all must fit, such as "443", "10.0.0.5",
// "10.0.0.0/8", "udp", "S0", "ssl", "host:10.0.", "port:53"; with ! before it a word
// must not fit. A number is a port, transports and states are whole words, anything
// else is a part of an address or of a service.
func ParseFilter(text string) (Filter, error) {
	f := Filter{text: strings.TrimSpace(text)}
	for word := range strings.FieldsSeq(strings.ToLower(text)) {
		var t term
		word, t.not = strings.CutPrefix(word, "!")
		for _, key := range filterKeys {
			if rest, found := strings.CutPrefix(word, key+":"); found {
				t.key, word = key, rest
			}
		}
		if word == "" {
			return Filter{}, fmt.Errorf("a word is missing")
		}
		if prefix, err := netip.ParsePrefix(word); err == nil {
			t.prefix, t.isPrefix = prefix, true
		} else if strings.Contains(word, "/") {
			return Filter{}, fmt.Errorf("%s: no network", word)
		}
		t.word = word
		f.terms = append(f.terms, t)
	}
	return f, nil
}

// String is the filter's text.
func (f *Filter) String() string { return f.text }

// matches tells whether a connection is wanted.
func (f *Filter) matches(c *tracker.Conn) bool {
	for i := range f.terms {
		if t := &f.terms[i]; t.fits(c) == t.not {
			return false
		}
	}
	return true
}

func (t *term) fits(c *tracker.Conn) bool {
	switch t.key {
	case "host":
		return t.fitsHost(c)
	case "port":
		return t.fitsPort(c)
	case "proto":
		return t.word == protocolName(c.Protocol)
	case "state":
		return strings.EqualFold(t.word, c.State.String())
	case "service":
		return strings.Contains(c.Service, t.word)
	}
	return t.fitsAny(c)
}

// fitsAny is for a word that does not say what it looks at.
func (t *term) fitsAny(c *tracker.Conn) bool {
	switch {
	case t.isPrefix:
		return t.fitsHost(c)
	case isNumber(t.word):
		return t.fitsPort(c)
	case t.word == protocolName(c.Protocol), strings.EqualFold(t.word, c.State.String()):
		return true
	case isKnownWord(t.word):
		return false
	}
	return strings.Contains(c.Service, t.word) || t.fitsHost(c)
}

func (t *term) fitsHost(c *tracker.Conn) bool {
	return t.fitsAddr(&c.Orig.Addr) || t.fitsAddr(&c.Resp.Addr)
}

func (t *term) fitsAddr(a *bpf.Addr) bool {
	addr := netip.AddrFrom16(*a).Unmap()
	if t.isPrefix {
		return t.prefix.Contains(addr)
	}
	return strings.Contains(addr.String(), t.word)
}

func (t *term) fitsPort(c *tracker.Conn) bool {
	port, err := strconv.ParseUint(t.word, 10, 16)
	return err == nil && hasPorts(c.Protocol) && (uint16(port) == c.Orig.Port || uint16(port) == c.Resp.Port)
}

func isNumber(word string) bool {
	_, err := strconv.ParseUint(word, 10, 64)
	return err == nil
}

// isKnownWord tells the names of transports and states, which are no part of others.
func isKnownWord(word string) bool {
	for s := range tracker.State(tracker.StateCount) {
		if strings.EqualFold(word, s.String()) {
			return true
		}
	}
	return word == "tcp" || word == "udp" || word == "icmp"
}

func hasPorts(protocol uint8) bool { return protocol == bpf.ProtocolTCP || protocol == bpf.ProtocolUDP }

// protocolName is the transport's name on the screen, of others their number.
func protocolName(protocol uint8) string {
	if transport := tracker.TransportOf(protocol); transport != tracker.TransportOther {
		return transport.String()
	}
	return "ip/" + strconv.Itoa(int(protocol))
}
