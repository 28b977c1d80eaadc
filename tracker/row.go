// SPDX-License-Identifier: Apache-2.0

package tracker

import "conntap/bpf"

// fillRow takes the snapshot of a connection that goes to the log.
func (t *Tracker) fillRow(c connection) {
	r := &t.row
	history := t.appendHistory(r.History[:0], c.hot)
	*r = Conn{
		UID:         t.uid(c),
		Start:       c.start,
		Last:        c.last,
		Now:         t.now,
		ClockOffset: t.offsets.At(c.offset).value,
		Protocol:    c.protocol,
		Interface:   c.nic,
		History:     history,
		Service:     t.services.Service(c.service),
	}
	r.State = t.connState(c.hot, history)
	t.fillEndpoint(&r.Orig, c, orig)
	t.fillEndpoint(&r.Resp, c, resp)
	if c.cold != 0 {
		d := t.cold.At(c.cold)
		r.MissedBytes = d.missed
		if d.tunnel != 0 {
			if s := t.tunnels.At(d.tunnel); s.count > 0 { // it may be a tunnel itself, or have looked like one
				r.TunnelParents = s.parents[:s.count]
			}
		}
	}
	if c.extra != 0 {
		x := t.extra.At(c.extra)
		r.VLAN, r.InnerVLAN = x.vlan, x.innerVLAN
		if x.owner != 0 {
			r.Owner = *t.owners.At(x.owner)
		}
	}
}

func (t *Tracker) fillEndpoint(r *Endpoint, c connection, side int) {
	e := &c.endpoint[side]
	r.Addr, r.Port = c.addr[side], c.port[side]
	r.Packets, r.IPBytes = t.booked(c.hot, side)
	if c.protocol == bpf.ProtocolTCP {
		r.TCP = e.state
		r.Bytes = t.size(c.hot, side)
	} else {
		r.Bytes = uint64(max(e.bytes(), 0))
	}
	if c.cold != 0 {
		d := &t.cold.At(c.cold).side[side]
		r.Retransmits, r.Gaps = uint64(d.retransmits), uint64(d.gaps)
		r.ZeroWindows, r.BadChecksums = uint64(d.zeroWindows), uint64(d.badChecksums)
	}
	if c.extra != 0 {
		x := t.extra.At(c.extra)
		r.MAC, r.RTT = x.mac[side], x.rtt[side]
	}
}

// uid hashes what makes the connection's first packet unique, symmetric in the
// sides, so that flips do not matter.
func (t *Tracker) uid(c connection) UID {
	h := hashKey{t.uidKey[0], t.uidKey[1], t.uidKey[2]}
	tuple := t.hashOf(&h, c)
	low := mix(tuple^t.uidKey[3], c.order>>turnBits^t.uidKey[0])
	high := mix(low^t.uidKey[1], uint64(c.start)^t.uidKey[2])
	low ^= mix(high^t.uidKey[2], tuple^t.uidKey[1])
	return UID{High: uint32(high >> 32), Low: low}
}
