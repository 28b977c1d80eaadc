// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"conntap/bpf"
)

// TestConnectionBytes measures what connections take that nobody answered and that
// announced no window, which have a cold part.
func TestConnectionBytes(t *testing.T) {
	const connections = 200_000
	config := Config{MaxConnections: connections, LinkLayer: true}
	before := resident(t)
	tr := New(config, func(*Conn) {})
	batch := make([]bpf.Packet, 1)
	for i := range 2 * connections { // half of them go for the others
		p := tcpPacket(0, false, bpf.SYN, 0, 0, 0)
		p.Time, p.Ordinal, p.Window = base+int64(i)*1000, uint64(i), 0
		p.Blocks |= bpf.BlockL2
		binary.BigEndian.PutUint32(p.Src[12:], 0x0b000000+uint32(i))
		batch[0] = p
		tr.Track(batch)
	}
	taken := (resident(t) - before) / connections
	if open := tr.Stats().Open; open != connections || tr.cold.Used() != connections {
		t.Fatalf("want %d open connections with a cold part, got %d and %d", connections, open, tr.cold.Used())
	}
	t.Logf("%d bytes each", taken)
	// Slabs have more pages than they need, which so few connections share.
	if taken > config.ConnectionBytes()*11/10 || taken < config.ConnectionBytes()/3 {
		t.Errorf("want up to %d bytes each, got %d", config.ConnectionBytes(), taken)
	}
	tr.Close()

	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%d bytes, with MACs, VLANs or `rtt` %d;", new(Config).ConnectionBytes(), config.ConnectionBytes())
	if !strings.Contains(string(readme), want) {
		t.Errorf("the README does not say %q", want)
	}
}

// resident is how much memory of its own the process has, bytes, without garbage.
func resident(t *testing.T) int {
	t.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var kilobytes int
	_, text, _ := strings.Cut(string(status), "\nRssAnon:")
	if _, err := fmt.Sscan(text, &kilobytes); err != nil {
		t.Fatalf("RssAnon: %v", err)
	}
	return kilobytes << 10
}
