// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"conntap/bpf"
	"conntap/collector"
	"conntap/tracker"
	"conntap/tracker/connlog"
)

const (
	packetsPerRead = 8192      // as conntap run has it
	maxConnections = 1_000_000 // run's default
)

// consumer is conntap run without a terminal: it reads a source, tracks, and
// formats rows, which nobody keeps.
type consumer struct {
	source  collector.Source
	tracker *tracker.Tracker
	log     *connlog.Writer

	logged  uint64 // packets in logged connections
	latency histogram
	usage   usage // of the process, when the last row was written
	err     error
	done    chan struct{}
}

// consume starts reading. The fields are to be looked at after wait.
func consume(source collector.Source) (*consumer, error) {
	log, err := connlog.NewWriter(io.Discard, connlog.Config{Format: connlog.TSV})
	if err != nil {
		return nil, err
	}
	c := &consumer{source: source, log: log, done: make(chan struct{})}
	c.tracker = tracker.New(tracker.Config{
		MaxConnections: maxConnections, Parser: bpf.Parser{Tunnels: true, PartialChecksums: true},
	}, c.emit)
	go c.run()
	return c, nil
}

func (c *consumer) emit(conn *tracker.Conn) {
	c.logged += conn.Orig.Packets + conn.Resp.Packets
	_ = c.log.Write(conn) // into the void
}

func (c *consumer) run() {
	defer close(c.done)
	packets := make([]bpf.Packet, packetsPerRead)
	for {
		n, err := c.source.Read(packets)
		c.take(packets[:n])
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.err = err
			}
			break
		}
	}
	c.tracker.Close()
	c.usage = processUsage()
}

// take tracks packets, and notes how late they are.
func (c *consumer) take(packets []bpf.Packet) {
	now := bootTime()
	for i := range packets {
		c.latency.add(now - packets[i].Time)
	}
	c.tracker.SetClockOffset(c.source.ClockOffset())
	c.tracker.Track(packets)
	if len(packets) == 0 {
		c.tracker.Advance(c.source.Now())
	}
}

// wait returns when the source has ended.
func (c *consumer) wait() error {
	<-c.done
	return errors.Join(c.err, c.source.Close())
}

// bootTime is the clock of packets' time stamps, ns.
func bootTime() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // a kernel without it is older than any with BPF
	}
	return t.Nano()
}
