// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"io"
	"testing"
	"time"

	"conntap/bpf"
)

// TestCapabilities works with a source from a thread that has only what Capabilities
// asks for: it reads, gives its account, flushes and detaches.
func TestCapabilities(t *testing.T) {
	tests := []struct {
		name   string
		config LiveConfig
	}{
		{"XDP and TCX", LiveConfig{Capture: CaptureXDP, Direction: DirectionBoth}},
		{"threads flush", LiveConfig{noTimers: true}},
		{"per packet", LiveConfig{Transport: TransportPerPacket}},
		{"clsact", LiveConfig{clsact: true}},
		{"promiscuous", LiveConfig{Promiscuous: PromiscuousOn}},
		{"AF_PACKET", LiveConfig{Capture: CaptureAFPacket, Promiscuous: PromiscuousOn}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			enterNamespace(t)
			addVeth(t, "tap", "far")
			tt.config.Interfaces, tt.config.RingBytes = []string{"tap"}, testRing
			source, err := Open(tt.config)
			must(t, err)
			far := newSender(t, "far")
			withCapabilities(t, source.Capabilities(false), func() { err = useUp(source, func() { far.send(t, udpFrame(1, 30)) }) })
			if err != nil {
				t.Errorf("with %v: %v", source.Capabilities(false), err)
			}
		})
	}
}

// useUp reads a packet that send sends, and closes the source.
func useUp(source LiveSource, send func()) error {
	dst := make([]bpf.Packet, 100)
	for deadline := time.Now().Add(10 * time.Second); ; {
		send()
		n, err := source.Read(dst)
		if err != nil {
			return err
		}
		if n > 0 {
			break
		}
		if time.Now().After(deadline) {
			return errors.New("no packet comes")
		}
	}
	if l, ok := source.(*Live); ok {
		if err := l.loader.shared[conntapMapCounters].Lookup(uint32(0), new([]bpf.Counters)); err != nil {
			return err
		}
	}
	source.HookStats()
	if err := source.Close(); err != nil {
		return err
	}
	for {
		if _, err := source.Read(dst); err == io.EOF {
			return source.Close()
		} else if err != nil {
			return err
		}
	}
}
