// SPDX-License-Identifier: Apache-2.0

// Package metrics serves the figures of a live capture to Prometheus.
//
// Nothing is counted here: a scrape takes a [Snapshot] of what the rooms count
// anyway, so that metrics cost a packet nothing.
package metrics

import (
	"math"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"conntap/bpf"
	"conntap/collector"
	"conntap/collector/host"
	"conntap/tracker"
	"conntap/tracker/connlog"
)

// Snapshot is a live capture at one moment.
type Snapshot struct {
	Hooks   []collector.HookStats   // by interface, hook and CPU
	Devices []collector.DeviceDrops // by interface
	// Interfaces counts them.
	Interfaces collector.InterfaceCount
	Rings      []collector.RingFill
	// Latency is what packets took from their time stamp until they were read.
	Latency collector.Latency
	// Late is how many packets were tracked out of the order of time.
	Late uint64
	// Connections is the tracker's account.
	Connections tracker.Stats
	// MaxConnections is how many connections may be open, 0 for no limit.
	MaxConnections int
	// Sample says that one connection in so many is recorded; 0 and 1: all.
	Sample uint32
	// Disturbances are what happened to conntap's time.
	Disturbances host.Disturbances
	// Rows is how many connections went to the log, LogErrors how many could not be
	// written.
	Rows, LogErrors uint64
	// Log is how writing to the log's files goes; zero without files.
	Log connlog.DirectoryState
	// HeldBack is how many the limit of rows kept out of the log.
	HeldBack uint64
}

// family is one metric: a name, and a value for each set of labels.
type family struct {
	name, help string
	labels     []string
	kind       prometheus.ValueType
	values     func(s *Snapshot, emit emit)
}

// emit takes a value with those of its labels.
type emit func(value float64, labels ...string)

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// families are all metrics but those with buckets. Counters begin with the capture.
var families = []family{
	{
		"conntap_frames_seen_total", "Frames that reached the hook. It equals recorded + filtered + skipped + lost.",
		[]string{"interface", "hook", "cpu"},
		counter, func(s *Snapshot, emit emit) {
			for _, h := range s.Hooks {
				emit(float64(h.Seen), h.Interface, hookName(h.Hook), strconv.Itoa(h.CPU))
			}
		},
	},
	{
		"conntap_frames_recorded_total", "Frames whose packets were handed on to the collector.",
		[]string{"interface", "hook"},
		counter, func(s *Snapshot, emit emit) {
			for _, h := range collector.SumByHook(s.Hooks) {
				emit(float64(h.Recorded), h.Interface, hookName(h.Hook))
			}
		},
	},
	{
		"conntap_frames_filtered_total", "Frames that the filter or the sample left out.",
		[]string{"interface", "hook"},
		counter, func(s *Snapshot, emit emit) {
			for _, h := range collector.SumByHook(s.Hooks) {
				emit(float64(h.Filtered), h.Interface, hookName(h.Hook))
			}
		},
	},
	{
		"conntap_sample_ratio", "The share of connections that is recorded, 1 without --sample.",
		nil, gauge, func(s *Snapshot, emit emit) { emit(1 / float64(max(s.Sample, 1))) },
	},
	{
		"conntap_frames_skipped_total", "Frames without a packet that could be read, by the reason.",
		[]string{"interface", "hook", "reason"},
		counter, func(s *Snapshot, emit emit) {
			for _, h := range collector.SumByHook(s.Hooks) {
				for reason := bpf.ReasonNone + 1; reason < bpf.ReasonCount; reason++ {
					emit(float64(h.Skipped[reason]), h.Interface, hookName(h.Hook), reason.String())
				}
			}
		},
	},
	{
		"conntap_frames_lost_total", "Frames that were lost, by the reason; ring: it had no room.",
		[]string{"interface", "hook", "cpu", "reason"},
		counter, func(s *Snapshot, emit emit) {
			for _, h := range s.Hooks {
				emit(float64(h.Lost), h.Interface, hookName(h.Hook), strconv.Itoa(h.CPU), "ring")
			}
		},
	},
	{
		"conntap_interface_dropped_frames_total",
		"Incoming frames that the interface dropped by itself, by the kernel's counter; no part of the frames seen. " +
			"rx_dropped holds also what the kernel threw away after the hook.",
		[]string{"interface", "counter"},
		counter, func(s *Snapshot, emit emit) {
			for _, d := range s.Devices {
				emit(float64(d.Dropped), d.Interface, "rx_dropped")
				emit(float64(d.Missed), d.Interface, "rx_missed_errors")
				emit(float64(d.FIFO), d.Interface, "rx_fifo_errors")
			}
		},
	},

	{
		"conntap_interfaces",
		"Interfaces by their state: captured; awaited: named, and not there; failed: there, and not to be captured.",
		[]string{"state"},
		gauge, func(s *Snapshot, emit emit) {
			emit(float64(s.Interfaces.Captured), "captured")
			emit(float64(s.Interfaces.Awaited), "awaited")
			emit(float64(s.Interfaces.Failed), "failed")
		},
	},
	{
		"conntap_interface_changes_total", "How often the capture of an interface began (attached) and ended (detached) before the end of all.",
		[]string{"change"},
		counter, func(s *Snapshot, emit emit) {
			emit(float64(s.Interfaces.Attached), "attached")
			emit(float64(s.Interfaces.Detached), "detached")
		},
	},
	{
		"conntap_ring_size_bytes", "Bytes that a ring has, by the CPU that writes to it; all: one ring for all.",
		[]string{"cpu"},
		gauge, func(s *Snapshot, emit emit) {
			for _, r := range s.Rings {
				emit(float64(r.Size), ringName(r.CPU))
			}
		},
	},
	{
		"conntap_ring_used_bytes", "Bytes of a ring that wait for the collector.",
		[]string{"cpu"},
		gauge, func(s *Snapshot, emit emit) {
			for _, r := range s.Rings {
				emit(float64(r.Used), ringName(r.CPU))
			}
		},
	},
	{
		"conntap_ring_highest_bytes", "Bytes of a ring that waited when they were most, at any read.",
		[]string{"cpu"},
		gauge, func(s *Snapshot, emit emit) {
			for _, r := range s.Rings {
				emit(float64(r.Highest), ringName(r.CPU))
			}
		},
	},
	{
		"conntap_packets_late_total", "Packets that came behind later ones of another CPU or hook; tracked all the same.",
		nil, counter, func(s *Snapshot, emit emit) { emit(float64(s.Late)) },
	},
	{
		"conntap_latency_highest_seconds", "The longest that a packet took from its time stamp in the kernel until it was read.",
		nil, gauge, func(s *Snapshot, emit emit) { emit(s.Latency.Longest.Seconds()) },
	},

	{
		"conntap_records_total", "Records that the tracker took. With packets_joined they equal packets + notes.",
		nil, counter, func(s *Snapshot, emit emit) { emit(float64(s.Connections.Records)) },
	},
	{
		"conntap_notes_total", "Records that are no packet: findings about a tunnel.",
		nil, counter, func(s *Snapshot, emit emit) { emit(float64(s.Connections.Notes)) },
	},
	{
		"conntap_packets_joined_total", "Packets read from datagrams that were put together from fragments.",
		nil, counter, func(s *Snapshot, emit emit) { emit(float64(s.Connections.Joined)) },
	},
	{
		"conntap_packets_total",
		"Packets by what became of them: counted in a connection; malformed or with a bad checksum, noted in a connection; " +
			"truncated; a duplicate, by --dedup; a fragment; the carrier of an IP tunnel; inner: no tunnel after all.",
		[]string{"outcome"},
		counter, func(s *Snapshot, emit emit) {
			c := &s.Connections
			emit(float64(c.Counted), "counted")
			emit(float64(c.Malformed), "malformed")
			emit(float64(c.BadChecksums), "bad_checksum")
			emit(float64(c.Truncated), "truncated")
			emit(float64(c.Duplicates), "duplicate")
			emit(float64(c.Fragments), "fragment")
			emit(float64(c.Carriers), "carrier")
			emit(float64(c.Inner), "inner")
		},
	},
	{
		"conntap_tunnelled_packets_total", "Packets from inside tunnels, of all packets.",
		nil, counter, func(s *Snapshot, emit emit) { emit(float64(s.Connections.Tunnelled)) },
	},
	{
		"conntap_ip_bytes_total", "Bytes of the outermost packets, by the IP header's length field.",
		nil, counter, func(s *Snapshot, emit emit) { emit(float64(s.Connections.IPBytes)) },
	},
	{
		"conntap_missed_bytes_total", "Bytes of TCP payload that were acknowledged but never seen.",
		nil, counter, func(s *Snapshot, emit emit) { emit(float64(s.Connections.MissedBytes)) },
	},
	{
		"conntap_datagrams_total",
		"Fragmented datagrams, by the outcome: joined; unreadable: joined, but no packet; filtered: joined, but not of the " +
			"sample; incomplete: given up.",
		[]string{"outcome"},
		counter, func(s *Snapshot, emit emit) {
			c := &s.Connections
			emit(float64(c.Datagrams-c.Unreadable-c.Unsampled), "joined")
			emit(float64(c.Unsampled), "filtered")
			emit(float64(c.Unreadable), "unreadable")
			emit(float64(c.Incomplete), "incomplete")
		},
	},

	{
		"conntap_connections_open", "Connections in the table.",
		nil, gauge, func(s *Snapshot, emit emit) { emit(float64(s.Connections.Open)) },
	},
	{
		"conntap_connections_limit", "Connections that the table may hold, infinite without a limit.",
		nil, gauge, func(s *Snapshot, emit emit) {
			limit := math.Inf(1)
			if s.MaxConnections > 0 {
				limit = float64(s.MaxConnections)
			}
			emit(limit)
		},
	},
	{
		"conntap_connections_opened_total", "Connections opened.",
		nil, counter, func(s *Snapshot, emit emit) { emit(float64(s.Connections.Opened)) },
	},
	{
		"conntap_connections_closed_total",
		"Connections closed, by the cause; evicted: the table was full, and they were logged early.",
		[]string{"cause"},
		counter, func(s *Snapshot, emit emit) {
			for cause, n := range s.Connections.Closed {
				emit(float64(n), tracker.Cause(cause).String())
			}
		},
	},
	{
		"conntap_connections_logged_total", "Connections logged, by proto and conn_state as in the log.",
		[]string{"proto", "state"},
		counter, func(s *Snapshot, emit emit) {
			for transport := range tracker.Transport(tracker.TransportCount) {
				for state := range tracker.State(tracker.StateCount) {
					if n := s.Connections.Logged[transport][state]; n > 0 || possible(transport, state) {
						emit(float64(n), transport.String(), state.String())
					}
				}
			}
		},
	},
	{
		"conntap_interim_records_total", "Records of connections that were still open, by --long-connections; beside all other sums.",
		nil, counter, func(s *Snapshot, emit emit) { emit(float64(s.Connections.Interim)) },
	},
	{
		"conntap_log_rows_total", "Connections handed to the log.",
		nil, counter, func(s *Snapshot, emit emit) { emit(float64(s.Rows)) },
	},
	{
		"conntap_log_held_back_total", "One-sided connections without a row in the log, by --max-rows-per-second.",
		nil, counter, func(s *Snapshot, emit emit) { emit(float64(s.HeldBack)) },
	},
	{
		"conntap_clock_steps_total", "Times that the wall clock was stepped. No duration is off by that.",
		[]string{"direction"},
		counter, func(s *Snapshot, emit emit) {
			emit(float64(s.Disturbances.ForwardSteps), "forward")
			emit(float64(s.Disturbances.BackSteps), "back")
		},
	},
	{
		"conntap_clock_stepped_seconds_total", "Seconds by which the wall clock was stepped, in all.",
		[]string{"direction"},
		counter, func(s *Snapshot, emit emit) {
			emit(s.Disturbances.Forward.Seconds(), "forward")
			emit(s.Disturbances.Back.Seconds(), "back")
		},
	},
	{
		"conntap_suspends_total", "Times that the machine was suspended.",
		nil, counter, func(s *Snapshot, emit emit) { emit(float64(s.Disturbances.Suspends)) },
	},
	{
		"conntap_suspended_seconds_total", "Seconds that the machine was suspended.",
		nil, counter, func(s *Snapshot, emit emit) { emit(s.Disturbances.Suspended.Seconds()) },
	},
	{
		"conntap_cpu_throttled_periods_total", "Periods in which the CPU quota of the control groups was used up.",
		nil, counter, func(s *Snapshot, emit emit) { emit(float64(s.Disturbances.Throttling.Periods)) },
	},
	{
		"conntap_cpu_throttled_seconds_total", "Seconds for which the CPU quota stopped the control groups, over all CPUs.",
		nil, counter, func(s *Snapshot, emit emit) { emit(s.Disturbances.Throttling.Time.Seconds()) },
	},
	{
		"conntap_log_errors_total", "Connections that the log could not take.",
		nil, counter, func(s *Snapshot, emit emit) { emit(float64(s.LogErrors)) },
	},
	{
		"conntap_log_rows_dropped_total", "Rows that the log's disk did not take, and for which there was no room to wait.",
		nil, counter, func(s *Snapshot, emit emit) { emit(float64(s.Log.Dropped)) },
	},
	{
		"conntap_log_backlog_bytes", "Bytes of rows that wait for the log's disk.",
		nil, gauge, func(s *Snapshot, emit emit) { emit(float64(s.Log.Waiting)) },
	},
	{
		"conntap_log_backlog_limit_bytes", "Bytes of rows that may wait for the log's disk; beyond it they are dropped.",
		nil, gauge, func(s *Snapshot, emit emit) { emit(float64(s.Log.Limit)) },
	},
	{
		"conntap_log_writable", "Whether the log can be written at the moment: 1, or 0 while it is tried again.",
		nil, gauge, func(s *Snapshot, emit emit) {
			if s.Log.Err == nil {
				emit(1)
			} else {
				emit(0)
			}
		},
	},
}

// possible tells whether connections of a transport can end in a state.
func possible(transport tracker.Transport, state tracker.State) bool {
	switch transport {
	case tracker.TransportTCP:
		return true
	case tracker.TransportUDP:
		return state == tracker.SF || state == tracker.S0 || state == tracker.SHR || state == tracker.OTH
	}
	return state == tracker.OTH
}

// ringName is the CPU that writes to a ring.
func ringName(cpu int) string {
	if cpu < 0 {
		return "all"
	}
	return strconv.Itoa(cpu)
}

// hookName is the hook in the words of --capture and --direction.
func hookName(h bpf.Hook) string {
	switch h {
	case bpf.HookXDP:
		return "xdp"
	case bpf.HookTCIngress:
		return "tc_ingress"
	case bpf.HookTCEgress:
		return "tc_egress"
	}
	return "unknown"
}
