// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"golang.org/x/sys/unix"

	"conntap/bpf"
	"conntap/collector"
)

// consumer runs Config.Consume, and takes the time of what is read.
type consumer struct {
	collector.Source
	consumed Consumed
	read     uint64 // records
	latency  histogram
	usage    usage // of the process, when the last row was written
	err      error
	done     chan struct{}
}

// startConsumer starts it. Nothing of it may be looked at before wait.
func startConsumer(source collector.Source, consume func(collector.Source) (Consumed, error)) *consumer {
	c := &consumer{Source: source, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.consumed, c.err = consume(c)
		c.usage = processUsage()
	}()
	return c
}

// Read implements collector.Source.
func (c *consumer) Read(packets []bpf.Packet) (int, error) {
	n, err := c.Source.Read(packets)
	c.read += uint64(n)
	now := bootTime()
	for i := range packets[:n] {
		c.latency.add(now - packets[i].Time)
	}
	return n, err
}

// Close leaves the source to who has opened it.
func (c *consumer) Close() error { return nil }

// wait returns when all that the source had is logged.
func (c *consumer) wait() error {
	<-c.done
	return c.err
}

// bootTime is the clock of packets' time stamps, ns.
func bootTime() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // a kernel without it is older than any with BPF
	}
	return t.Nano()
}
