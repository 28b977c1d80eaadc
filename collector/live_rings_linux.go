// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"

	"conntap/bpf"
)

// load makes the maps for the transport that was asked for, or the one that there is.
func (l *Live) load(c *LiveConfig, kernel kernelVersion, slots, cpus int) (err error) {
	if c.Transport == TransportPerPacket {
		l.loader, err = loadPerPacket(c, kernel, slots, cpus)
		return err
	}
	l.loader, err = loadBatched(c, kernel, slots, cpus)
	if c.Transport == TransportAuto && errors.Is(err, errNoBatches) {
		l.loader, err = loadPerPacket(c, kernel, slots, cpus)
	}
	return err
}

func loadBatched(c *LiveConfig, kernel kernelVersion, slots, cpus int) (*loader, error) {
	size, err := ringSize(c.RingBytes, cpus, cpus)
	if err != nil {
		return nil, err
	}
	return newLoader(kernel, slots, transportConfig{
		cpus: cpus, ringBytes: size, batchBytes: batchDefault, flush: flushInterval, noTimers: c.noTimers,
	})
}

func loadPerPacket(c *LiveConfig, kernel kernelVersion, slots, cpus int) (*loader, error) {
	size, err := ringSize(c.RingBytes, cpus, 1)
	if err != nil {
		return nil, err
	}
	return newLoader(kernel, slots, transportConfig{cpus: cpus, ringBytes: size, batchBytes: batchPerPacket})
}

// hooksOf are the hooks at which interfaces may be captured by these wishes, now or when
// others come.
func hooksOf(c *LiveConfig) []bpf.Hook {
	var hooks []bpf.Hook
	xdp := c.Capture == CaptureXDP || c.Capture == CaptureXDPGeneric
	if c.Direction != DirectionOut {
		if xdp || c.Capture == CaptureAuto {
			hooks = append(hooks, bpf.HookXDP)
		}
		if !xdp {
			hooks = append(hooks, bpf.HookTCIngress)
		}
	}
	if c.Direction != DirectionIn {
		hooks = append(hooks, bpf.HookTCEgress)
	}
	return hooks
}

// openRings maps what the programs write to, at these hooks.
func (l *Live) openRings(hooks []bpf.Hook) error {
	for _, m := range l.loader.transport.rings {
		r, err := openRing(m)
		if err != nil {
			return err
		}
		l.rings = append(l.rings, r)
	}
	var err error
	if l.poll, err = newRingPoll(l.loader.transport.rings); err != nil {
		return err
	}
	if l.loader.transport.config.perPacket() {
		l.streams = newSingleStream(&l.rings[0].ring, l.losses)
		return nil
	}
	var rings []*ring
	for _, r := range l.rings {
		rings = append(rings, &r.ring)
	}
	l.pace = newPace(uint64(l.loader.transport.config.ringBytes))
	l.streams = newStreams(rings, hooks, l.loader.transport.pending.word, l.losses)
	return nil
}

// closeRings undoes openRings, or what there is of it.
func (l *Live) closeRings() error {
	var errs []error
	if l.poll != nil {
		errs = append(errs, l.poll.close())
	}
	for _, r := range l.rings {
		errs = append(errs, r.close())
	}
	l.poll, l.rings = nil, nil
	return errors.Join(errs...)
}

// Rings says how full the rings are.
func (l *Live) Rings() []RingFill {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loader == nil {
		return l.finalRings
	}
	return l.readRings()
}

func (l *Live) readRings() []RingFill {
	rings := make([]RingFill, 0, len(l.rings))
	for cpu, r := range l.rings {
		if l.loader.transport.config.perPacket() {
			cpu = -1
		}
		rings = append(rings, RingFill{CPU: cpu, Used: r.used(), Highest: r.highest.Load(), Size: r.size()})
	}
	return rings
}
