// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"conntap/collector"
)

var update = flag.Bool("update", false, "write the expected output")

// exampleReport is of no machine: one row loses, one does not.
func exampleReport() *Report {
	return &Report{
		Machine: Machine{CPU: "Example & Sons <8>", CPUs: 8, Kernel: "6.18.1"},
		Load:    Load{Size: 60, Flows: 10_000, Duration: 3 * time.Second, Producers: 1},
		Rounds:  7,
		Rows: []Row{
			{
				Name: baselineName, OfferedRate: 4.3e6, KernelNS: 54.2,
				Account: Account{Offered: 90_000_000, Refused: 12},
			},
			{
				Name: "xdp", Transport: "batched", OfferedRate: 3.4e6, LoggedRate: 3.4e6, LosslessRate: 3.4e6,
				KernelNS: 81.4, UserNS: 61.6, Latency: Latency{P50: 2e6, P999: 41e5, Max: 9_960_000},
				RingFill: 0.034, Steal: 0.002, PauseNS: 81_920,
				Account: Account{Offered: 71_000_000, Logged: 71_000_000},
			},
			{
				Name: "tcx", Transport: collector.TransportPerPacket, OfferedRate: 1.2e6, LoggedRate: 0.9e6, LosslessRate: 0.8e6,
				KernelNS: 249, UserNS: 130, Latency: Latency{P50: 2e6, P999: 2e8, Max: 3e8},
				RingFill: 1, Steal: 0.01, PauseNS: 40_960,
				Account: Account{
					Offered: 25_000_000, Logged: 18_750_000, Refused: 3, Lost: Losses{Driver: 50_000, Ring: 6_200_000},
				},
			},
			{Name: "afpacket", OfferedRate: 1e6, LoggedRate: 1e6, Account: Account{Offered: 1000, Logged: 1000}},
			{Name: "xdp-generic", Transport: "batched", Error: "bench1: no such thing here"},
		},
	}
}

func TestWriteTable(t *testing.T) {
	golden(t, "table.txt", exampleReport().WriteTable)
}

func TestWritePlot(t *testing.T) {
	golden(t, "plot.svg", exampleReport().WritePlot)
}

// TestPlotIsXML: whatever the machine is called.
func TestPlotIsXML(t *testing.T) {
	var plot bytes.Buffer
	if err := exampleReport().WritePlot(&plot); err != nil {
		t.Fatal(err)
	}
	decoder := xml.NewDecoder(&plot)
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestImbalance: a packet that nobody accounts for is said in so many words.
func TestImbalance(t *testing.T) {
	r := exampleReport()
	if err := r.Imbalance(); err != nil {
		t.Errorf("want no error of what balances, got %v", err)
	}
	r.Rows[2].Account.Logged--
	r.Rows[2].Missing = r.Rows[2].Account.missing()
	const want = "tcx per-packet: offered 25,000,000, but logged 18,749,999 + lost 6,250,000: +1 packets unaccounted for"
	if err := r.Imbalance(); err == nil || err.Error() != want {
		t.Errorf("want %q, got %v", want, err)
	}
	var table strings.Builder
	if err := r.WriteTable(&table); err != nil || !strings.Contains(table.String(), "\nNOT BALANCED: "+want+"\n") {
		t.Errorf("want the imbalance in the table, got %v\n%s", err, table.String())
	}
}

// TestTitle names what is particular about a load.
func TestTitle(t *testing.T) {
	r := exampleReport()
	r.Rounds, r.Load = 1, Load{Size: 1514, Flows: 1, Rate: 1.5e6, Packets: 20_000_000, Producers: 2}
	const machine = "Example & Sons <8>, kernel 6.18.1, 8 CPUs; "
	want := machine + "veth, 1514-byte UDP frames, 1 flow, 1.5 Mpps from 2 CPUs; 20,000,000 packets, one round"
	if got := r.Title(); got != want {
		t.Errorf("want %q, got %q", want, got)
	}
	r.Interface, r.Load = "eth1", Load{Duration: time.Minute}
	if got, want := r.Title(), machine+"traffic of eth1; 60 s, one round"; got != want {
		t.Errorf("want %q, got %q", want, got)
	}
}

// golden compares what write writes with a file.
func golden(t *testing.T, name string, write func(io.Writer) error) {
	t.Helper()
	var got bytes.Buffer
	if err := write(&got); err != nil {
		t.Fatal(err)
	}
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("want, as in %s (go test -update writes it):\n%s\ngot:\n%s", path, want, got.Bytes())
	}
}

// TestHistogram: quantiles are off by one part in sixteen at most, upwards.
func TestHistogram(t *testing.T) {
	var h histogram
	for v := range int64(100_000) {
		h.add(v * 1000)
	}
	h.add(-5) // a time stamp of another CPU
	tests := []struct {
		q    float64
		want int64
	}{{0.5, 50_000_000}, {0.999, 99_900_000}, {0, 0}, {1, 99_999_000}}
	for _, tt := range tests {
		if got := h.quantile(tt.q); got < tt.want || got > tt.want+tt.want/bucketsPerOctave {
			t.Errorf("quantile %v: want %d or little above, got %d", tt.q, tt.want, got)
		}
	}
	var sum uint64
	for i, octave := range h.octaves() {
		sum += octave.Records
		if i > 1 && octave.UpTo != 2*h.octaves()[i-1].UpTo+1 {
			t.Errorf("want octaves, got %v", h.octaves())
		}
	}
	if sum != h.total {
		t.Errorf("want all %d in octaves, got %d", h.total, sum)
	}
	if h.max != 99_999_000 {
		t.Errorf("want the exact maximum, got %d", h.max)
	}
}

// TestBuckets: every value is in a bucket that ends no earlier than it, and later
// than the one before.
func TestBuckets(t *testing.T) {
	for _, v := range []uint64{0, 1, 15, 16, 31, 32, 33, 34, 1023, 1024, 1e9, 1<<62 + 1, 1<<63 - 1} {
		i := bucket(v)
		if uint64(bucketEnd(i)) < v || i > 0 && uint64(bucketEnd(i-1)) >= v {
			t.Errorf("%d: bucket %d is from %d to %d", v, i, bucketEnd(i-1)+1, bucketEnd(i))
		}
	}
}
