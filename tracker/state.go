// SPDX-License-Identifier: Apache-2.0

package tracker

import "conntap/bpf"

// connState is the connection's conn_state (Zeek
// scripts/base/protocols/conn/main.zeek, conn_state).
func (t *Tracker) connState(c *hot, history []byte) State {
	switch c.protocol {
	case bpf.ProtocolTCP:
		return t.tcpConnState(c, history)
	case bpf.ProtocolUDP:
		return c.udpConnState()
	}
	return OTH
}

func (c *hot) udpConnState() State {
	originator, responder := c.endpoint[orig].bytes() >= 0, c.endpoint[resp].bytes() >= 0
	switch {
	case originator && responder:
		return SF
	case originator:
		return S0
	case responder:
		return SHR
	}
	return OTH
}

func (t *Tracker) tcpConnState(c *hot, history []byte) State {
	o, r := &c.endpoint[orig], &c.endpoint[resp]
	switch {
	case r.state == TCPReset:
		return t.resetByResponder(c)
	case o.state == TCPReset && r.midstream():
		if isResetAttempt(history) {
			return RSTOS0
		}
		return OTH
	case o.state == TCPReset:
		return RSTO
	case o.state == TCPClosed && r.state == TCPClosed:
		return SF
	case o.state == TCPClosed && r.midstream():
		return SH
	case o.state == TCPClosed:
		return S2
	case r.state == TCPClosed && o.midstream():
		return SHR
	case r.state == TCPClosed:
		return S3
	case o.state == TCPSynSent && r.state == TCPInactive:
		return S0
	case o.state == TCPEstablished && r.state == TCPEstablished:
		return S1
	}
	return OTH
}

func (t *Tracker) resetByResponder(c *hot) State {
	o := &c.endpoint[orig]
	switch {
	case o.state == TCPSynSent || o.state == TCPSynAckSent,
		o.state == TCPReset && t.size(c, orig) == 0 && t.size(c, resp) == 0:
		return REJ
	case o.midstream():
		return RSTRH
	}
	return RSTR
}

// midstream tells whether no part of the endpoint's handshake was seen.
func (e *endpoint) midstream() bool { return e.state == TCPInactive || e.state == TCPPartial }

// isResetAttempt tells whether the history is that of a SYN and a RST of the
// originator, with nothing in between that speaks for an established connection:
// ^?S[^HAFGIQ]*R.
func isResetAttempt(history []byte) bool {
	if len(history) > 0 && history[0] == '^' {
		history = history[1:]
	}
	if len(history) == 0 || history[0] != 'S' {
		return false
	}
	for _, letter := range history[1:] {
		switch letter {
		case 'R':
			return true
		case 'H', 'A', 'F', 'G', 'I', 'Q':
			return false
		}
	}
	return false
}
