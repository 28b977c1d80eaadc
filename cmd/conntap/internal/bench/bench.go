// SPDX-License-Identifier: Apache-2.0

// Package bench measures capture on the machine that it runs on: frames made in
// the kernel at a chosen rate go over a cable, that is a veth pair between network
// namespaces of its own, and every packet is accounted for. Each way in is
// measured in turn, in rounds.
package bench

import (
	"time"

	"conntap/collector"
	"conntap/tracker"
)

// Config says what to measure.
type Config struct {
	Load
	// Captures are the ways in; Transports how records reach the reader, of which
	// AF_PACKET knows none.
	Captures   []collector.Capture
	Transports []collector.Transport
	// Baseline measures, among the ways in, a native XDP program that reads the
	// clock and drops.
	Baseline bool
	// Rounds is how often each is measured; the rates are those of the best one.
	Rounds int
	// Search looks for the highest rate at which nothing is lost.
	Search bool
	// Consume tracks and logs what the source yields, until io.EOF.
	Consume func(collector.Source) (Consumed, error)
	// Interface is a network interface to measure as it is, without a load of
	// bench's own; "": a cable.
	Interface string
	// Warn is told what the user of Interface should know. Optional.
	Warn func(sentence string)
	// Progress is told what is being done. Optional.
	Progress func(string)
}

// Consumed is what became of the packets of a source.
type Consumed struct {
	Logged  uint64 // packets in rows of the log
	Tracked tracker.Stats
}

// Load is the traffic that is offered.
type Load struct {
	// Size is the length of a frame in bytes, without the FCS: MinSize to MaxSize.
	Size int `json:"size"`
	// Flows is how many five-tuples the frames have in turn.
	Flows int `json:"flows"`
	// Rate is frames per second, of all producers; 0: as many as can be made.
	Rate float64 `json:"rate"`
	// Packets is how many frames a run has; 0: what Duration allows.
	Packets uint64 `json:"packets"`
	// Duration is how long a run lasts, if Packets is 0.
	Duration time.Duration `json:"duration"`
	// Producers is how many CPUs make frames.
	Producers int `json:"producers"`
}

// The bounds of a Load.
const (
	MinSize  = 60
	MaxSize  = 1514
	MaxFlows = 1 << 31
)

// Transports are how records can reach the reader.
var Transports = []collector.Transport{collector.TransportBatched, collector.TransportPerPacket}

// Captures are the ways in that can be measured.
var Captures = []collector.Capture{collector.CaptureXDP, collector.CaptureXDPGeneric, collector.CaptureTCX, collector.CaptureAFPacket}

// Report is what was measured.
type Report struct {
	Machine Machine `json:"machine"`
	// Interface is the interface that was measured as it is, "" for a cable.
	Interface string `json:"interface,omitempty"`
	Load      Load   `json:"load"`
	Rounds    int    `json:"rounds"`
	// ProducerCPUs make the frames; ConsumerCPUs read, track and log.
	ProducerCPUs []int `json:"producer_cpus,omitempty"`
	ConsumerCPUs []int `json:"consumer_cpus"`
	Rows         []Row `json:"rows"`
}

// Machine is what the figures are of.
type Machine struct {
	CPU    string `json:"cpu"` // the model's name
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
}

// baselineName is the name of the baseline's row.
const baselineName = "baseline"

// Row is what was measured of one way in.
type Row struct {
	// Name is the way in, as --modes has it, or "baseline".
	Name string `json:"mode"`
	// Transport is how records reached the reader, "" if there is no choice.
	Transport collector.Transport `json:"transport,omitempty"`
	// Account is of all rounds together.
	Account Account `json:"account"`
	// Missing is how many of the packets offered are in no sum, in all runs, which
	// must not be; below 0: the sums hold more than was offered.
	Missing int64 `json:"missing"`
	// Error says why it could not be measured; then all else is 0.
	Error string `json:"error,omitempty"`

	// OfferedRate and LoggedRate are packets per second in the best round: the one
	// with the highest LoggedRate, of the baseline OfferedRate.
	OfferedRate float64 `json:"offered_pps"`
	LoggedRate  float64 `json:"logged_pps"`
	// LosslessRate is the highest rate offered at which nothing was lost, packets
	// per second; 0 if it was not looked for or there was none.
	LosslessRate float64 `json:"lossless_pps"`
	// KernelNS is ns per run of the program by the kernel's own statistics, which
	// add some of their own; 0 if there is no program.
	KernelNS float64 `json:"kernel_ns_per_packet"`
	// UserNS and SystemNS are ns of CPU per record read, of the process without
	// its producers, in the round with the least.
	UserNS   float64 `json:"user_ns_per_record"`
	SystemNS float64 `json:"system_ns_per_record"`
	// Latency is how long after its time stamp a record was read, in all rounds.
	Latency Latency `json:"latency"`
	// RingFill is the highest share of the ring that was in use, 0 to 1, at the
	// moments of reading.
	RingFill float64 `json:"ring_fill"`
	// Steal is the share of CPU time that the hypervisor gave to others, 0 to 1.
	Steal float64 `json:"steal"`
	// PauseNS is an upper bound of the longest stop of the process by its garbage
	// collector.
	PauseNS float64 `json:"gc_pause_ns"`
}

// Latency is read time less time stamp, ns.
type Latency struct {
	P50  int64 `json:"p50_ns"`
	P999 int64 `json:"p99.9_ns"`
	Max  int64 `json:"max_ns"`
	// Histogram is all of them.
	Histogram []LatencyBucket `json:"histogram"`
}

// LatencyBucket is how many records took longer than the bucket before says, and no
// longer than this one.
type LatencyBucket struct {
	UpTo    int64  `json:"up_to_ns"`
	Records uint64 `json:"records"`
}

// Account is where the packets went. It balances when Offered is Logged plus all
// of Lost.
type Account struct {
	// Offered is what arrived at the captured interface.
	Offered uint64 `json:"offered"`
	// Logged is packets in logged connections; of the baseline 0.
	Logged uint64 `json:"logged"`
	Lost   Losses `json:"lost"`
	// Refused is frames that the cable did not take from the producers: they were
	// never offered.
	Refused uint64 `json:"refused"`
}

// Generated is what Generate has sent.
type Generated struct {
	Frames  uint64  `json:"frames"` // made
	Taken   uint64  `json:"taken"`  // by the interface; it refuses what its queue has no room for
	Seconds float64 `json:"seconds"`
}

// Losses is how many packets were not logged, by where they were lost.
type Losses struct {
	Driver   uint64 `json:"driver"`   // the captured interface dropped them before the hook
	Ring     uint64 `json:"ring"`     // the ring was full
	Filtered uint64 `json:"filtered"` // the hook left them out
	Skipped  uint64 `json:"skipped"`  // the hook could not read them
	Tracker  uint64 `json:"tracker"`  // read, but in no connection
}

// Total is the sum.
func (l *Losses) Total() uint64 { return l.Driver + l.Ring + l.Filtered + l.Skipped + l.Tracker }

// add adds another account.
func (a *Account) add(b *Account) {
	a.Offered += b.Offered
	a.Logged += b.Logged
	a.Refused += b.Refused
	a.Lost.Driver += b.Lost.Driver
	a.Lost.Ring += b.Lost.Ring
	a.Lost.Filtered += b.Lost.Filtered
	a.Lost.Skipped += b.Lost.Skipped
	a.Lost.Tracker += b.Lost.Tracker
}

// missing is how many packets are unaccounted for.
func (a *Account) missing() int64 { return int64(a.Offered - a.Logged - a.Lost.Total()) }
