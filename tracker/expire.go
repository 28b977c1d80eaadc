// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"time"

	"conntap/bpf"
)

// Zeek's timers, ns (scripts/base/init-bare.zeek).
const (
	attemptDelay  = int64(5 * time.Second)  // tcp_attempt_delay
	synTimeout    = int64(5 * time.Second)  // tcp_SYN_timeout: the first expire check
	sessionTimer  = int64(6 * time.Second)  // tcp_session_timer: the next ones
	linger        = int64(5 * time.Second)  // tcp_connection_linger
	closeDelay    = int64(5 * time.Second)  // tcp_close_delay
	dnsTimeout    = int64(10 * time.Second) // dns_session_timeout
	dnsTimeoutMin = int64(9 * time.Second)  // silence that ends a session when its timer fires
)

// timeoutClass is how long a connection may be silent.
type timeoutClass uint8

const (
	timeoutShort       timeoutClass = iota // UDP, ICMP, others; TCP until a side leaves the handshake
	timeoutTCP                             // tcp_inactivity_timeout
	timeoutInteractive                     // ssh, ftp, telnet, rlogin
)

var timeouts = [...]int64{int64(time.Minute), int64(5 * time.Minute), int64(time.Hour)}

// after is a deadline d after a time that may lie in the past.
func (t *Tracker) after(time, d int64) int64 { return max(time+d, t.now) }

// setTimeout changes how long the connection may be silent, and arms its timer
// anew.
func (t *Tracker) setTimeout(c connection, class timeoutClass) {
	if c.timeout == class {
		return
	}
	c.timeout = class
	c.inactivityAt = t.after(c.last, timeouts[class])
	t.armed = true
}

// armTimers arms the timers of a new connection.
func (t *Tracker) armTimers(c connection) {
	c.inactivityAt = t.after(c.last, timeouts[timeoutShort])
	c.closeAt, c.checkAt = never, never
	t.armInterim(c)
	switch {
	case c.protocol == bpf.ProtocolTCP:
		c.checkAt = t.now + synTimeout
	case c.protocol == bpf.ProtocolUDP && c.bits&bitDNS != 0:
		c.checkAt = t.now + dnsTimeout
	}
}

// armSecondCheck arms a further expire check, which runs beside the first.
func (t *Tracker) armSecondCheck(c connection, at int64) {
	t.coldOf(c.hot).checkAt = at
	c.bits |= bitSecondCheck
	t.armed = true
}

// scheduleRemoval lets a closed connection go after the close delay. Of its
// timers only inactivity stays.
func (t *Tracker) scheduleRemoval(c connection) {
	c.checkAt = never
	c.bits &^= bitSecondCheck
	c.bits |= bitClosing
	c.closeAt = t.after(c.last, closeDelay)
	t.armed = true
}

// firstDeadline is when the first of the connection's timers fires.
func (t *Tracker) firstDeadline(c connection) int64 {
	at := min(c.inactivityAt, c.closeAt, c.checkAt, c.interimAt())
	if c.bits&bitSecondCheck != 0 {
		at = min(at, t.cold.At(c.cold).checkAt)
	}
	return at
}

// rearm makes the wheel hand the connection out in time. A later deadline than
// the wheel knows of needs nothing: it is looked at when the wheel's comes.
func (t *Tracker) rearm(i uint32, c connection) {
	if at := t.firstDeadline(c); at < c.due {
		t.wheel.schedule(i, c.warm, at)
	}
}

// expire fires all timers that are due.
func (t *Tracker) expire() {
	t.popped = expiry{}
	for i, due := t.wheel.pop(t.now); i != 0; i, due = t.wheel.pop(t.now) {
		if t.wheel.read {
			t.wheel.read = false
			t.readSlots(t.wheel.ready[min(t.wheel.unread, len(t.wheel.ready)):])
		}
		c := t.connectionAt(i)
		t.popped.reach(due, c.order)
		t.fire(i, c, due)
	}
}

// readSlots reads where the table has connections that will probably end now, and
// which have just been read, so that the waits for memory overlap.
func (t *Tracker) readSlots(entries []readyEntry) {
	var touched uint64
	for _, e := range entries {
		if c := t.connectionAt(e.index); c.protocol != bpf.ProtocolTCP || c.closeAt <= e.due {
			touched += t.table.entries[t.hashOf(&t.hashKey, c)>>32&t.table.mask]
		}
	}
	t.touched = touched
}

// expiry is a place in the order in which the wheel hands connections out.
type expiry struct {
	due   int64
	order uint64
}

// reach moves on to a connection that was handed out. A timer that was armed
// meanwhile may be due before those that are done: it is done right away, in no
// other place than the last one.
func (e *expiry) reach(due int64, order uint64) {
	if due > e.due || due == e.due && order > e.order {
		*e = expiry{due, order}
	}
}

// fire runs the connection's next timer, if it is the one that the wheel knew of,
// and waits for the one after it, even if that is due as well: others come between.
func (t *Tracker) fire(i uint32, c connection, due int64) {
	at := t.firstDeadline(c)
	if at <= due {
		if t.fires(c, at) {
			t.remove(i, c, CauseTimeout)
			return
		}
		at = t.firstDeadline(c)
	}
	t.wheel.schedule(i, c.warm, at)
}

// fires runs one timer and tells whether the connection ends by it.
func (t *Tracker) fires(c connection, at int64) bool {
	switch at {
	case c.closeAt:
		c.closeAt = never
		return c.bits&bitClosing != 0 || c.attemptFailed()
	case c.checkAt:
		if c.protocol == bpf.ProtocolUDP {
			c.checkAt = t.now + dnsTimeout
			return t.now-c.last >= dnsTimeoutMin
		}
		return t.checkExpired(c, &c.checkAt)
	case c.inactivityAt:
		c.inactivityAt = c.last + timeouts[c.timeout]
		if c.inactivityAt > t.now {
			return false
		}
		t.interimBefore(c, c.inactivityAt)
		return true
	case c.interimAt():
		t.interimBefore(c, at+1)
		return false
	default:
		return t.checkExpired(c, &t.cold.At(c.cold).checkAt)
	}
}

// attemptFailed tells whether nobody has answered the originator's SYN (Zeek
// TSA, AttemptTimer).
func (c *hot) attemptFailed() bool {
	s := c.endpoint[orig].state
	return (s == TCPSynSent || s == TCPSynAckSent) && c.endpoint[resp].state == TCPInactive
}

// checkExpired tells whether a connection lingers that is as good as closed, and
// arms the check anew (Zeek TSA, ExpireTimer).
func (t *Tracker) checkExpired(c connection, at *int64) bool {
	if c.bits&bitInactive != 0 {
		*at = never
		return false
	}
	*at = t.now + sessionTimer
	if c.last+linger >= t.now {
		return false
	}
	o, r := &c.endpoint[orig], &c.endpoint[resp]
	if o.state == TCPInactive && r.state == TCPInactive {
		return true
	}
	if (o.bits|r.bits)&bitDidClose == 0 {
		return false
	}
	return o.bits&r.bits&bitDidClose != 0 || o.state == TCPReset || r.state == TCPReset ||
		o.state == TCPInactive || r.state == TCPInactive
}
