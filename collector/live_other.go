// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package collector

import (
	"errors"
	"io"

	"conntap/bpf"
)

var errNotLinux = errors.New("live capture needs Linux; capture files can be read here")

// Live yields the packets of network interfaces, on Linux.
type Live struct{ nameTable }

var _ LiveSource = (*Live)(nil)

// Open returns an error: there is no live capture on this system.
func Open(LiveConfig) (LiveSource, error) { return nil, errNotLinux }

// OpenLive returns an error: there is no live capture on this system.
func OpenLive(LiveConfig) (*Live, error) { return nil, errNotLinux }

// Read implements Source.
func (*Live) Read([]bpf.Packet) (int, error) { return 0, io.EOF }

// Now implements Source.
func (*Live) Now() int64 { return 0 }

// ClockOffset implements Source.
func (*Live) ClockOffset() int64 { return 0 }

// Stats implements Source.
func (*Live) Stats() Stats { return Stats{} }

// HookStats is the account by interface, hook and CPU.
func (*Live) HookStats() []HookStats { return nil }

// Rings says how full the rings are.
func (*Live) Rings() []RingFill { return nil }

// Latency says how long packets took until Read returned them.
func (*Live) Latency() Latency { return Latency{} }

// Interfaces counts the interfaces.
func (*Live) Interfaces() InterfaceCount { return InterfaceCount{} }

// DeviceDrops are what interfaces dropped by themselves.
func (*Live) DeviceDrops() []DeviceDrops { return nil }

// CgroupPath is the path of a control group.
func (*Live) CgroupPath(uint64) string { return "" }

// LostBetween is how many frames were lost from one time to another.
func (*Live) LostBetween(from, to int64) uint64 { return 0 }

// Obtained is what was obtained, an element per interface.
func (*Live) Obtained() []Attachment { return nil }

// Capabilities are those that the process must keep.
func (*Live) Capabilities(bool) []Capability { return nil }

// Close implements Source.
func (*Live) Close() error { return nil }

// Check returns an error: there is no live capture on this system.
func Check(_, _ string) (*Report, error) { return nil, errNotLinux }

// InterfacesUp returns an error: there is no live capture on this system.
func InterfacesUp(string) ([]string, error) { return nil, errNotLinux }

// RingBytes says nothing of systems without rings.
func RingBytes(wish int) (cpus, bytes int, err error) { return 0, wish, nil }
