// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"conntap/bpf"
	"conntap/tracker/service"
)

// openApplication sets what a new connection knows of its protocols: none, unless
// another connection has announced it.
func (t *Tracker) openApplication(c connection) {
	c.service = 0
	if c.protocol == bpf.ProtocolTCP && t.services.Expecting() {
		if t.shard != nil && t.services.Expects(&c.addr[resp], c.port[resp]) {
			t.shard.learnWithdrawn()
		}
		c.service = t.services.Open(&c.addr[resp], c.port[resp], t.now)
	}
}

// closeApplication frees what is known of a connection's protocols. A connection
// that was announced may come again only if it is reused.
func (t *Tracker) closeApplication(c connection, cause Cause) {
	if cause != CauseReuse && t.services.Expecting() &&
		t.services.Came(c.service, &c.addr[resp], c.port[resp]) && t.shard != nil {
		t.shard.withdrawn.add(withdrawal{t.shard.place.order(), c.addr[resp], c.port[resp]})
	}
	t.services.Close(c.service)
}

// applicationSegment is what the analyzers are told with a side's payload.
func (t *Tracker) applicationSegment(c *hot, side int, time int64) service.Segment {
	return service.Segment{
		Delivered: [2]uint64{t.delivered(c, orig), t.delivered(c, resp)},
		Total:     t.size(c, orig) + t.size(c, resp),
		Time:      time,
		Side:      side,
		Partial:   c.bits&bitPartial != 0,
		Port:      c.port[resp],
		Addr:      &c.addr,
	}
}

// applicationData shows a side's TCP payload at a position to the analyzers, after
// its reassembly: before, its stream was complete or given up up to delivered.
func (t *Tracker) applicationData(c connection, side int, delivered, position uint64, p *bpf.Packet) {
	if t.services.Skip(c.service, side, position, p.PayloadLength(), len(p.Payload)) {
		return
	}
	s := t.applicationSegment(c.hot, side, p.Time)
	s.Delivered[side] = delivered
	s.Position, s.Payload, s.Length = position, p.Payload, p.PayloadLength()
	t.applicationEffect(c, t.services.TCP(&c.service, &s))
}

// applicationEnd tells the analyzers that a side's data is complete.
func (t *Tracker) applicationEnd(c connection, side int) {
	s := t.applicationSegment(c.hot, side, t.now)
	t.applicationEffect(c, t.services.End(&c.service, &s))
}

func (t *Tracker) applicationEffect(c connection, effect service.Effect) {
	if effect == 0 {
		return
	}
	if effect&service.UnknownPacket != 0 {
		t.unknownPacket(c)
	}
	if effect&service.Interactive != 0 && c.timeout != timeoutInteractive {
		t.setTimeout(c, timeoutInteractive)
	}
}

// applicationDatagram shows UDP payload to the analyzers but those of DNS and NTP.
func (t *Tracker) applicationDatagram(c connection, side int, p *bpf.Packet) {
	d := service.Datagram{
		Payload: p.Payload,
		Total:   uint64(max(c.endpoint[orig].bytes(), 0) + max(c.endpoint[resp].bytes(), 0)),
		Length:  messageLength(p),
		Side:    side,
		Port:    c.port[resp],
	}
	t.services.UDP(&c.service, &d)
}

// messageLength is how long the UDP payload is for who parses it: what a snap
// length has cut off does not exist, what the kernel did not pass on does.
func messageLength(p *bpf.Packet) int {
	if p.State&bpf.StateComplete == 0 {
		return len(p.Payload)
	}
	return max(int(p.Window)-udpHeaderLength, len(p.Payload))
}
