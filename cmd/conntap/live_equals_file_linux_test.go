// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"conntap/bpf"
	"conntap/collector"
	"conntap/tracker"
	"conntap/tracker/connlog"
)

const (
	conformance = repositoryRoot + "/../shared/conformance"

	// injectionMTU is the largest of a veth.
	injectionMTU = 65535
	// leastTraces is how many must have been compared.
	leastTraces = 400
)

// TestLiveEqualsFile injects captures into a veth and compares the log with that
// of reading the same frames from a file: all of them in batches, some one by one.
func TestLiveEqualsFile(t *testing.T) {
	all := coreTraces(t)
	var some []trace
	for i := 0; i < len(all); i += 5 {
		some = append(some, all[i])
	}
	tests := []struct {
		capture   collector.Capture
		transport collector.Transport
		traces    []trace
	}{
		{collector.CaptureXDP, collector.TransportBatched, all},
		{collector.CaptureTCX, collector.TransportBatched, all},
		{collector.CaptureAFPacket, collector.TransportAuto, all},
		{collector.CaptureXDP, collector.TransportPerPacket, some},
		{collector.CaptureTCX, collector.TransportPerPacket, some},
	}
	for _, tt := range tests {
		traces := tt.traces
		t.Run(string(tt.capture)+", "+string(tt.transport), func(t *testing.T) {
			n := newNamespace(t)
			n.addVeth(t, "tap", n, "far", injectionMTU)
			var far *injector
			var live collector.LiveSource
			n.do(t, func() (err error) {
				for _, setting := range []string{"all", "tap", "far"} {
					file := "/proc/sys/net/ipv6/conf/" + setting + "/disable_ipv6"
					err = errors.Join(err, os.WriteFile(file, []byte("1"), 0))
				}
				if err != nil {
					return err
				}
				if far, err = newInjector("far"); err != nil {
					return err
				}
				live, err = collector.Open(collector.LiveConfig{
					Interfaces: []string{"tap"}, Capture: tt.capture, Direction: collector.DirectionIn, RingBytes: 16 << 20,
					Transport: tt.transport,
				})
				return err
			})
			defer far.close()
			defer closeLive(t, live)

			var frames, packets, rows int
			for i := range traces {
				frames += len(traces[i].frames)
				p, r := compareTrace(t, &traces[i], far, live)
				packets, rows = packets+p, rows+r
			}
			stats := live.Stats()
			if stats.Seen != uint64(frames) || stats.Recorded != uint64(packets) || stats.Lost != 0 || stats.Late != 0 {
				t.Errorf("want %d frames seen, %d recorded, none lost or late; got %+v", frames, packets, stats)
			}
			t.Logf("%d traces, %d frames, %d packets, %d rows, all columns equal, %d lost",
				len(traces), frames, packets, rows, stats.Lost)
		})
	}
}

// compareTrace injects one trace and compares. It returns the number of packets
// and rows.
func compareTrace(t *testing.T, tr *trace, far *injector, live collector.LiveSource) (packets, rows int) {
	t.Helper()
	fromFile := readTrace(t, tr)
	for _, frame := range tr.frames {
		if err := far.send(frame); err != nil {
			t.Fatalf("%s: %v", tr.name, err)
		}
	}
	packets = countPackets(fromFile)
	fromRing := readRing(t, live, packets)
	if len(fromRing) != packets {
		t.Fatalf("%s: want %d packets, got %d", tr.name, packets, len(fromRing))
	}
	fromRing = atTimesOf(fromFile, fromRing)
	want := logOf(t, fromFile, 1)
	for _, shards := range []int{1, 2, 4} {
		if got := logOf(t, fromRing, shards); got != want {
			t.Errorf("%s, %d shards: %s", tr.name, shards, firstDifference(want, got))
		}
	}
	for line := range strings.Lines(want) {
		if line[0] != '#' {
			rows++
		}
	}
	return packets, rows
}

// countPackets leaves out the frames that gave none.
func countPackets(all []bpf.Packet) (packets int) {
	for i := range all {
		if all[i].Kind != bpf.KindNone {
			packets++
		}
	}
	return packets
}

// readRing reads so many packets, or what came within a while.
func readRing(t *testing.T, live collector.LiveSource, packets int) []bpf.Packet {
	t.Helper()
	all := make([]bpf.Packet, 0, packets)
	for deadline := time.Now().Add(2 * time.Second); len(all) < packets && time.Now().Before(deadline); {
		var batch [256]bpf.Packet
		n, err := live.Read(batch[:min(len(batch), packets-len(all))])
		must(t, err)
		for _, p := range batch[:n] {
			p.Payload = bytes.Clone(p.Payload) // the ring's memory until the next Read
			all = append(all, p)
		}
	}
	return all
}

// atTimesOf gives packets of the ring the times and the ordinals of those of the
// file. Frames that gave no packet, in between, move time on in both.
func atTimesOf(fromFile, fromRing []bpf.Packet) []bpf.Packet {
	all := slices.Clone(fromFile)
	for i := range all {
		if all[i].Kind == bpf.KindNone {
			continue
		}
		time, ordinal := all[i].Time, all[i].Ordinal
		all[i], fromRing = fromRing[0], fromRing[1:]
		all[i].Time, all[i].Ordinal = time, ordinal
	}
	return all
}

// firstDifference is the first line in which two logs differ.
func firstDifference(want, got string) string {
	wantLines, gotLines := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(wantLines), len(gotLines)) {
		if wantLines[i] != gotLines[i] {
			return fmt.Sprintf("line %d:\nfile %s\nlive %s", i+1, wantLines[i], gotLines[i])
		}
	}
	return fmt.Sprintf("file has %d lines, live %d", len(wantLines), len(gotLines))
}

// readTrace reads the trace as from a file. Checksums are not judged, which live
// capture does not either.
func readTrace(t *testing.T, tr *trace) []bpf.Packet {
	t.Helper()
	source, err := collector.OpenFiles([]string{"-"}, collector.FileOptions{Stdin: bytes.NewReader(tr.pcap())})
	must(t, err)
	defer source.Close()
	var all []bpf.Packet
	for {
		var batch [256]bpf.Packet
		n, err := source.Read(batch[:])
		for _, p := range batch[:n] {
			p.Payload = bytes.Clone(p.Payload)
			all = append(all, p)
		}
		if err == io.EOF {
			return all
		}
		must(t, err)
	}
}

// logOf is the log that so many shards make of packets, with every column that there
// is.
func logOf(t *testing.T, packets []bpf.Packet, shards int) string {
	t.Helper()
	var log strings.Builder
	with, err := connlog.ParseWith("mac,vlan,community-id,rtt,counters")
	must(t, err)
	format, err := connlog.ParseFormat("tsv")
	must(t, err)
	w, err := connlog.NewWriter(&log, connlog.Config{
		Format: format, With: with, Now: func() time.Time { return time.Unix(0, 0) },
	})
	must(t, err)
	config := tracker.Config{Seed: "s", LinkLayer: true, RoundTrips: true}
	connections := tracker.NewShards(config, shards, func(c *tracker.Conn) {
		if err == nil {
			c.Service = "" // live capture has less payload to tell it from
			err = w.Write(c)
		}
	})
	connections.Track(&tracker.Batch{Packets: packets})
	connections.Close()
	must(t, errors.Join(err, w.Close()))
	return log.String()
}

// coreTraces are the Ethernet captures among those that need no tunnel, fragment
// or odd link layer.
func coreTraces(t *testing.T) []trace {
	t.Helper()
	list, err := os.ReadFile(filepath.Join(conformance, "core.txt"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("no traces: %v", err)
	}
	must(t, err)
	var traces []trace
	left := map[string]int{}
	for name := range strings.FieldsSeq(string(list)) {
		tr, err := loadTrace(filepath.Join(conformance, "traces", name))
		if err != nil {
			left[err.Error()]++
			continue
		}
		tr.name = name
		traces = append(traces, tr)
	}
	t.Logf("%d traces; left out: %v", len(traces), left)
	if len(traces) < leastTraces {
		t.Fatalf("want at least %d traces, got %d", leastTraces, len(traces))
	}
	return traces
}

// injector hands frames to an interface, as a program on it would.
type injector struct {
	socket int
	to     unix.SockaddrLinklayer
}

// newInjector is to be called in the interface's namespace.
func newInjector(name string) (*injector, error) {
	device, err := netlink.LinkByName(name)
	if err != nil {
		return nil, err
	}
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	return &injector{socket, unix.SockaddrLinklayer{Ifindex: device.Attrs().Index}}, nil
}

func (i *injector) send(frame []byte) error {
	if err := unix.Sendto(i.socket, frame, 0, &i.to); err != nil {
		return fmt.Errorf("send a frame of %d bytes: %w", len(frame), err)
	}
	return nil
}

func (i *injector) close() { unix.Close(i.socket) }

// closeLive detaches and releases the ring, unread.
func closeLive(t *testing.T, live collector.LiveSource) {
	if err := errors.Join(live.Close(), live.Close()); err != nil {
		t.Error(err)
	}
}
