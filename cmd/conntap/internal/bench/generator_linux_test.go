// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"conntap/bpf"
	"conntap/cmd/conntap/internal/affinity"
	"conntap/collector"
	"conntap/tracker"
)

// requireRoot skips the test without root, unless skipping is a failure.
func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CONNTAP_REQUIRE_BPF") == "1" {
		t.Fatal("root is needed, and CONNTAP_REQUIRE_BPF=1 forbids to skip")
	}
	t.Skip("root is needed")
}

// TestGeneratorFrames: frames have their flow's address and port, in turn, and
// sound checksums, whatever frame stood there before.
func TestGeneratorFrames(t *testing.T) {
	requireRoot(t)
	const flows = 65_538
	g, err := newGenerator(Load{Size: MinSize, Flows: flows}, 1, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	runtime.LockOSThread() // on one CPU: flows are per CPU
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &before))
	defer func() { must(t, unix.SchedSetaffinity(0, &before)) }()
	cpus, err := affinity.Allowed()
	must(t, err)
	must(t, affinity.Pin(cpus[0]))

	frame := g.frame
	for n := range uint32(flows + 2) {
		out := make([]byte, len(frame))
		_, err := g.program.Run(&ebpf.RunOptions{Data: frame, DataOut: out, Repeat: 1})
		must(t, err)
		frame = out
		if flow := n % flows; flow < 3 || flow > 65_534 {
			checkFrame(t, frame, flow)
		}
	}
	if made, _, err := g.made(); err != nil || made != flows+2 {
		t.Errorf("want %d frames made, got %d, %v", flows+2, made, err)
	}
}

func checkFrame(t *testing.T, frame []byte, flow uint32) {
	t.Helper()
	var packet [bpf.PacketsMax]bpf.Packet
	parser := bpf.Parser{Link: bpf.LinkEthernet, VerifyChecksums: true}
	n, reason := parser.Parse(frame, len(frame), packet[:])
	if n != 1 {
		t.Fatalf("flow %d: want a packet, got %d: %v", flow, n, reason)
	}
	p := &packet[0]
	source := binary.BigEndian.Uint32(p.Src[12:])
	if wantSource, wantPort := firstSource+flow&0xffff, firstPort+flow>>16; source != wantSource || uint32(p.SrcPort) != wantPort {
		t.Errorf("flow %d: want source %x port %d, got %x port %d", flow, wantSource, wantPort, source, p.SrcPort)
	}
}

// TestMeasure: each way in balances, and no namespace stays.
func TestMeasure(t *testing.T) {
	requireRoot(t)
	const packets = 20_000
	config := Config{
		Load:     Load{Size: 100, Flows: 500, Packets: packets, Producers: 1, Rate: 400_000},
		Captures: Captures, Transports: Transports, Baseline: true, Rounds: 1, Search: true,
	}
	report := measure(t, context.Background(), config)
	if want := 1 + (len(Captures)-1)*len(Transports) + 1; len(report.Rows) != want { // AF_PACKET has one
		t.Errorf("want %d rows, got %d", want, len(report.Rows))
	}
	for i := range report.Rows {
		row := &report.Rows[i]
		if sent := row.Account.Offered + row.Account.Refused; sent < packets {
			t.Errorf("%s: want %d packets offered at least, got %+v", row, packets, row.Account)
		}
		if row.Missing != 0 {
			t.Errorf("%s: want a balance, %d missing of %+v", row, row.Missing, row.Account)
		}
		if row.KernelNS == 0 && row.Name != "afpacket" {
			t.Errorf("%s: want ns per packet in the kernel", row)
		}
	}
}

// TestMeasureInterrupted: an interruption ends a long run at once.
func TestMeasureInterrupted(t *testing.T) {
	requireRoot(t)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(300*time.Millisecond, cancel)
	_, err := measureUnchecked(t, ctx, Config{
		Load:     Load{Size: 60, Flows: 10, Duration: time.Hour, Producers: 1},
		Captures: Captures[:1], Transports: Transports, Rounds: 1,
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("want %v, got %v", context.Canceled, err)
	}
}

// TestMeasureFails: what can't be measured leaves nothing behind either.
func TestMeasureFails(t *testing.T) {
	requireRoot(t)
	for _, config := range []Config{
		{Load: Load{Size: 60, Flows: 1, Duration: time.Second, Producers: 100_000}},
		{Load: Load{Size: 60, Flows: 1, Duration: time.Second, Producers: 1}, Captures: []collector.Capture{"pigeon"}, Transports: Transports, Rounds: 1},
		{Load: Load{Duration: time.Second}, Interface: "none", Captures: Captures, Transports: Transports, Rounds: 1},
	} {
		if _, err := measureUnchecked(t, context.Background(), config); err == nil {
			t.Errorf("%+v: want an error", config)
		}
	}
}

// consumeSource tracks all packets of a source.
func consumeSource(source collector.Source) (Consumed, error) {
	var c Consumed
	connections := tracker.New(tracker.Config{}, func(conn *tracker.Conn) { c.Logged += conn.Orig.Packets + conn.Resp.Packets })
	packets := make([]bpf.Packet, 4096)
	for {
		n, err := source.Read(packets)
		connections.Track(packets[:n])
		if err != nil {
			connections.Close()
			c.Tracked = connections.Stats()
			if err == io.EOF {
				err = nil
			}
			return c, err
		}
	}
}

func measure(t *testing.T, ctx context.Context, c Config) *Report {
	t.Helper()
	report, err := measureUnchecked(t, ctx, c)
	must(t, err)
	return report
}

// measureUnchecked measures and looks for what is left behind: a namespace lives
// as long as a thread or a file of this process holds it.
func measureUnchecked(t *testing.T, ctx context.Context, c Config) (*Report, error) {
	t.Helper()
	cpus, err := affinity.Allowed()
	must(t, err)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	c.Consume = consumeSource
	report, err := Measure(ctx, c)
	must(t, affinity.Confine(cpus))
	home, homeErr := os.Readlink("/proc/self/ns/net")
	must(t, homeErr)
	// A thread is gone a little after its goroutine.
	held := namespacesHeld(t, home)
	for deadline := time.Now().Add(5 * time.Second); len(held) > 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
		held = namespacesHeld(t, home)
	}
	if len(held) > 0 {
		t.Errorf("want no other network namespace than %s, have %v", home, held)
	}
	return report, err
}

// namespacesHeld are the network namespaces but home that threads and files of
// this process hold.
func namespacesHeld(t *testing.T, home string) []string {
	t.Helper()
	var held []string
	for _, pattern := range []string{"/proc/self/task/*/ns/net", "/proc/self/fd/*"} {
		paths, err := filepath.Glob(pattern)
		must(t, err)
		for _, path := range paths {
			// What has gone by now is no matter.
			if target, err := os.Readlink(path); err == nil && strings.HasPrefix(target, "net:") && target != home {
				held = append(held, path)
			}
		}
	}
	return held
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
