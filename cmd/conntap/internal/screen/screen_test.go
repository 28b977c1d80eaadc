// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"conntap/bpf"
	"conntap/collector"
	"conntap/collector/host"
	"conntap/tracker"
)

func TestFigures(t *testing.T) {
	tests := []struct{ got, want string }{
		{Count(0), "0"},
		{Count(999), "999"},
		{Count(1000), "1,000"},
		{Count(1_002_003), "1,002,003"},
		{Count(math.MaxUint64), "18,446,744,073,709,551,615"},
		{Bytes(512), "512 bytes"},
		{Bytes(1000), "1.0 kB"},
		{Bytes(99_949), "99.9 kB"},
		{Bytes(551_400_000), "551 MB"},
		{Bytes(999_600), "1.0 MB"},
		{Rate(12, "pps"), "12 pps"},
		{Rate(12_400, "pps"), "12.4 kpps"},
		{Rate(81e6, "bit/s"), "81.0 Mbit/s"},
		{Span(0), "0 s"},
		{Span(810 * time.Millisecond), "0.81 s"},
		{Span(17 * time.Minute), "17 min"},
		{Span(26 * time.Hour), "26.0 h"},
		{Span(72 * time.Hour), "3.0 days"},
		{Plural(1, "packet"), "1 packet"},
		{Plural(2000, "packet"), "2,000 packets"},
		{Period(1700000000e9, 1700001069e9), "2023-11-14 22:13:20 to 22:31:09 UTC (18 min)"},
		{Period(1700000000e9, 1700010000e9), "2023-11-14 22:13:20 to 2023-11-15 01:00:00 UTC (2.8 h)"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("want %q, got %q", tt.want, tt.got)
		}
	}
}

func logged() tracker.Stats {
	stats := tracker.Stats{BadChecksums: 3, MissedBytes: 1204}
	stats.Logged[tracker.TransportICMP][tracker.OTH] = 1
	stats.Logged[tracker.TransportTCP][tracker.SF] = 1
	return stats
}

func evicted() tracker.Stats {
	var stats tracker.Stats
	stats.Closed[tracker.CauseUnanswered] = 1
	stats.Closed[tracker.CauseIdle] = 1
	return stats
}

func TestAccount(t *testing.T) {
	frames := collector.Stats{Counters: bpf.Counters{Seen: 3_000_000, Recorded: 2_999_588}}
	frames.Skipped[bpf.ReasonARP] = 380
	frames.Skipped[bpf.ReasonIPChecksum] = 32
	whole := collector.Stats{Counters: bpf.Counters{Seen: 61, Recorded: 61}}
	filtered := collector.Stats{Counters: bpf.Counters{Seen: 61, Recorded: 1, Filtered: 60}}
	live := collector.Stats{Counters: bpf.Counters{Seen: 10, Recorded: 7, Lost: 3}}
	tests := []accountTest{
		{"skipped", Account{
			Title: "big.pcap", Size: 551_000_000, Frames: frames, First: 1700000000e9, Last: 1700001069e9, Connections: logged(), Gapped: 1,
			Elapsed: 500 * time.Millisecond,
		}, `big.pcap: 3,000,000 packets, 551 MB, 2023-11-14 22:13:20 to 22:31:09 UTC (18 min)
  seen 3,000,000 = recorded 2,999,588 + skipped 412 (arp 380, ip checksum 32)
  2 connections   SF 1  OTH 1
  bad checksums: 3   gaps: 1.2 kB in 1 connection
  read in 0.5 s, 6.0 Mpps
`},
		{"omitted", Account{Title: "first.pcap", Frames: whole, Omitted: 1200}, `first.pcap: 61 packets
  0 connections
  of transports that the profile leaves out: 1,200
`},
		{"whole", Account{Title: "first.pcap", Size: 4096, Frames: whole}, `first.pcap: 61 packets, 4.1 kB
  0 connections
`},
		{"sample", Account{Title: "first.pcap", Frames: filtered, Sample: 10}, `first.pcap: 61 packets
  seen 61 = recorded 1 + filtered 60 + skipped 0
  sample 1/10: what was left out is among the filtered
  0 connections
`},
		{"live", Account{Title: "detached", Frames: live, Live: true, Connections: evicted()}, `detached
  seen 10 = recorded 7 + filtered 0 + skipped 0 + lost 3 (ring full)
    a larger --ring-size bridges bursts; --filter and --sample make less of it
  0 connections
  logged early, the table was full: 2
`},
		{"disturbed", Account{Title: "detached", Frames: live, Live: true, Disturbances: host.Disturbances{
			ForwardSteps: 1, Forward: time.Hour, BackSteps: 2, Back: 3 * time.Second, Suspends: 1, Suspended: 8 * time.Hour,
			Throttling: host.Throttling{Periods: 68, Time: 12366 * time.Millisecond},
		}}, `detached
  seen 10 = recorded 7 + filtered 0 + skipped 0 + lost 3 (ring full)
    a larger --ring-size bridges bursts; --filter and --sample make less of it
  0 connections
  the wall clock was stepped forward: 1 time, 60 min   the wall clock was stepped back: 2 times, 3 s   the machine slept: 1 time, 8.0 h   throttled by the CPU quota: 68 periods, 12 s
`},
	}
	for _, tt := range append(tests, liveAccounts()...) {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			if _, err := tt.in.WriteTo(&b); err != nil {
				t.Fatal(err)
			}
			if b.String() != tt.want {
				t.Errorf("want\n%s\ngot\n%s", tt.want, b.String())
			}
		})
	}
}

type accountTest struct {
	name string
	in   Account
	want string
}

// liveAccounts are of two interfaces, with and without losses, short and full.
func liveAccounts() []accountTest {
	hook := func(name string, hook bpf.Hook, cpu int, recorded, lost uint64) collector.HookStats {
		h := collector.HookStats{Interface: name, Hook: hook, CPU: cpu}
		h.Seen, h.Recorded, h.Lost = recorded+lost, recorded, lost
		return h
	}
	whole := Account{Title: "detached", Live: true, Hooks: []collector.HookStats{
		hook("eth0", bpf.HookXDP, 0, 1000, 0), hook("eth0", bpf.HookTCEgress, 1, 500, 0), hook("eth1", bpf.HookTCIngress, 0, 3, 0),
	}, Devices: []collector.DeviceDrops{{Interface: "eth0"}, {Interface: "eth1", Missed: 4}}}
	whole.Frames.Seen, whole.Frames.Recorded = 1503, 1503
	whole.Connections.Records, whole.Connections.Packets, whole.Connections.Counted = 1503, 1503, 1503
	lossy := whole
	lossy.Hooks = slices.Clone(whole.Hooks)
	lossy.Hooks[1].Seen, lossy.Hooks[1].Lost = 700, 200
	lossy.Frames.Seen, lossy.Frames.Lost, lossy.Frames.Late = 1703, 200, 1
	lossy.Connections.Counted, lossy.Connections.Fragments = 1500, 3
	lossy.Rings = []collector.RingFill{{CPU: 0, Highest: 16384, Size: 65536}, {CPU: 1, Highest: 1 << 24, Size: 1 << 24}}
	lossy.Latency.Packets[12], lossy.Latency.Longest = 1503, 40*time.Millisecond
	full := lossy
	full.Full = true
	everywhere := Account{Title: "detached", Live: true}
	for cpu := range 6 {
		everywhere.Hooks = append(everywhere.Hooks, hook("eth0", bpf.HookXDP, cpu, 0, uint64(10+cpu)))
	}
	everywhere.Frames.Seen, everywhere.Frames.Lost = 75, 75
	return []accountTest{
		{"interfaces", whole, `detached
  seen 1,503 = recorded 1,503 + filtered 0 + skipped 0 + lost 0
    eth0: seen 1,500 = recorded 1,500 + filtered 0 + skipped 0 + lost 0
    eth1: seen 3 = recorded 3 + filtered 0 + skipped 0 + lost 0
  beside that, by the counters of eth1: rx_missed_errors 4
  0 connections
`},
		{"lost", lossy, `detached
  seen 1,703 = recorded 1,503 + filtered 0 + skipped 0 + lost 200 (ring full)
    eth0: seen 1,700 = recorded 1,500 + filtered 0 + skipped 0 + lost 200 (ring full)
    eth1: seen 3 = recorded 3 + filtered 0 + skipped 0 + lost 0
    eth0 out, CPU 1: seen 700 = recorded 500 + filtered 0 + skipped 0 + lost 200 (ring full)
    a larger --ring-size bridges bursts; --filter and --sample make less of it
  beside that, by the counters of eth1: rx_missed_errors 4
  packets 1,503 = in connections 1,500 + fragments 3
  0 connections
  out of order, tracked all the same: 1 packet
`},
		{"lost everywhere", everywhere, `detached
  seen 75 = recorded 0 + filtered 0 + skipped 0 + lost 75 (ring full)
    eth0 in, CPU 5: seen 15 = recorded 0 + filtered 0 + skipped 0 + lost 15 (ring full)
    eth0 in, CPU 4: seen 14 = recorded 0 + filtered 0 + skipped 0 + lost 14 (ring full)
    eth0 in, CPU 3: seen 13 = recorded 0 + filtered 0 + skipped 0 + lost 13 (ring full)
    eth0 in, CPU 2: seen 12 = recorded 0 + filtered 0 + skipped 0 + lost 12 (ring full)
    and so on, 6 in all: --account full
    a larger --ring-size bridges bursts; --filter and --sample make less of it
  0 connections
`},
		{"full", full, `detached
  seen 1,703 = recorded 1,503 + filtered 0 + skipped 0 + lost 200 (ring full)
    eth0 in, CPU 0: seen 1,000 = recorded 1,000 + filtered 0 + skipped 0 + lost 0
    eth0 out, CPU 1: seen 700 = recorded 500 + filtered 0 + skipped 0 + lost 200 (ring full)
    eth1 in, CPU 0: seen 3 = recorded 3 + filtered 0 + skipped 0 + lost 0
    a larger --ring-size bridges bursts; --filter and --sample make less of it
  beside that, by the counters of eth0: rx_dropped 0, rx_missed_errors 0, rx_fifo_errors 0
  beside that, by the counters of eth1: rx_dropped 0, rx_missed_errors 4, rx_fifo_errors 0
  records 1,503 + joined from fragments 0 = packets 1,503 + notes 0
  packets 1,503 = in connections 1,500 + fragments 3 + carriers of tunnels 0 + not in a tunnel after all 0 + malformed 0 + bad checksum 0 + cut 0 + duplicates 0
  0 connections
  out of order, tracked all the same: 1 packet
  ring of CPU 0: 64 KiB, full to 25.0 % at most
  ring of CPU 1: 16 MiB, full to 100.0 % at most
  read within 4.1 ms (half of the packets), 4.1 ms (99 %), 4.1 ms (99.9 %), 40 ms (all)
`},
	}
}

func TestLine(t *testing.T) {
	var b bytes.Buffer
	line := NewLine(&b, func() int { return 6 })
	rows := line.Over(&b)
	line.Show("status")
	write := func(s string) {
		t.Helper()
		if n, err := rows.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatalf("want %d bytes written, got %d, %v", len(s), n, err)
		}
	}
	write("row\n")
	write("row\n")
	line.Show("new")
	line.Erase()
	const e = eraseLine
	want := e + "statu" + e + "row\n" + e + "statu" + e + "row\n" + e + "statu" + e + "new" + e
	if b.String() != want {
		t.Errorf("want %q, got %q", want, b.String())
	}
}

func TestNoLine(t *testing.T) {
	var b bytes.Buffer
	var line *Line
	line.Show("status")
	line.Erase()
	if _, err := line.Over(&b).Write([]byte("row\n")); err != nil || b.String() != "row\n" {
		t.Errorf("want the row alone, got %q, %v", b.String(), err)
	}
}

func TestLineTexts(t *testing.T) {
	tests := []struct{ got, want string }{
		{
			Status{PacketRate: 12_400, BitRate: 81e6, Open: 214, Logged: 1032}.String(),
			"12.4 kpps  81.0 Mbit/s  open 214  logged 1,032  lost 0",
		},
		{Status{Lost: 1, Held: 2000}.String(), "0 pps  0 bit/s  open 0  logged 0  lost 1  held back 2,000"},
		{
			Progress{Done: 500, Total: 1000, Packets: 3000, Connections: 1, Elapsed: 65 * time.Second}.String(),
			"[==========          ]  50 %  3,000 packets  1 connection  1:05 left",
		},
		{Progress{Done: 500, Total: -1, Packets: 3000}.String(), "3,000 packets  0 connections"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("want %q, got %q", tt.want, tt.got)
		}
	}
}
