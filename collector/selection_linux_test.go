// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// TestLiveSelection captures what a filter and a sample let through, on each hook.
func TestLiveSelection(t *testing.T) {
	requireBPF(t)
	var frames [][]byte
	for port := range uint16(200) {
		frames = append(frames, udpFrame(1000+port, 30))
	}
	packet := udpFrame(2000, 30)[14:]
	frames = append(frames, arpFrame(),
		frametest.Ethernet(frametest.TypeVLAN, frametest.Tag(7, frametest.TypeIPv4), packet),
		frametest.Ethernet(frametest.TypeVLANOuter, frametest.Tag(8, frametest.TypeVLAN), frametest.Tag(7, frametest.TypeIPv4), packet))
	tests := []struct {
		name      string
		capture   Capture
		selection Selection
	}{
		{"filter, XDP", CaptureXDP, Selection{Filter: parseFilter(t, "src portrange 1010-1029")}},
		{"filter, generic XDP", CaptureXDPGeneric, Selection{Filter: parseFilter(t, "not src portrange 1010-1029")}},
		{"filter, TCX", CaptureTCX, Selection{Filter: parseFilter(t, "host 10.0.0.2 and src port 1007")}},
		{"vlan, XDP", CaptureXDP, Selection{Filter: parseFilter(t, "vlan 7")}},
		{"vlan, TCX", CaptureTCX, Selection{Filter: parseFilter(t, "vlan 7")}}, // the stack took the outer tags off
		{"inner vlan, TCX", CaptureTCX, Selection{Filter: parseFilter(t, "vlan 8 and vlan 7")}},
		{"no vlan, TCX", CaptureTCX, Selection{Filter: parseFilter(t, "not vlan")}},
		{"sample, XDP", CaptureXDP, Selection{Sample: 4}},
		{"sample, TCX", CaptureTCX, Selection{Sample: 4}},
		{"both", CaptureTCX, Selection{Filter: parseFilter(t, "portrange 1000-1099"), Sample: 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			enterNamespace(t)
			addVeth(t, "tap", "far")
			var want bpf.Counters
			parser := bpf.Parser{Link: bpf.LinkEthernet}
			var parsed [bpf.PacketsMax]bpf.Packet
			for _, frame := range frames {
				n, reason := parser.Parse(frame, len(frame), parsed[:])
				want.Seen++
				switch {
				case n == 0:
					want.Skipped[reason]++
				case tt.selection.has(&parsed[0]):
					want.Recorded++
				default:
					want.Filtered++
				}
			}
			l := openLive(t, LiveConfig{Interfaces: []string{"tap"}, Capture: tt.capture, Selection: tt.selection})
			newSender(t, "far").send(t, frames...)
			awaitSeen(t, l, want.Seen)
			packets := readAll(t, l)
			if got := l.Stats().Counters; got != want || want.Recorded == 0 || want.Filtered == 0 {
				t.Errorf("want %+v\ngot  %+v", want, got)
			}
			if uint64(len(packets)) != want.Recorded {
				t.Errorf("want %d packets, got %d", want.Recorded, len(packets))
			}
			for i := range packets {
				if !tt.selection.has(&packets[i]) {
					t.Errorf("not to be recorded: %+v", packets[i])
				}
			}
		})
	}
}

// TestLiveDrop has all packets recorded, and the stack see none of them.
func TestLiveDrop(t *testing.T) {
	tests := []struct {
		name    string
		capture Capture
		action  XDPAction
		want    string // in the start line
		stack   int    // frames that the stack gets
	}{
		{"native", CaptureXDP, XDPDrop, "in XDP native, incoming packets dropped after it, promiscuous", 0},
		{"generic", CaptureXDPGeneric, XDPDrop, "in XDP generic, incoming packets dropped after it, promiscuous", 0},
		{"pass", CaptureXDP, XDPPass, "in XDP native, promiscuous", 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			enterNamespace(t)
			addVeth(t, "tap", "far")
			l := openLive(t, LiveConfig{
				Interfaces: []string{"tap"}, Capture: tt.capture, XDPAction: tt.action,
				Selection: Selection{Filter: parseFilter(t, "not src port 3")},
			})
			if text := l.Obtained()[0].String(); !strings.HasSuffix(text, ": "+tt.want) {
				t.Errorf("want %q, got %q", tt.want, text)
			}
			stack := newListener(t, "tap")
			newSender(t, "far").send(t, udpFrame(1, 30), udpFrame(2, 30), udpFrame(3, 30), arpFrame())
			want := bpf.Counters{Seen: 4, Recorded: 2, Filtered: 1}
			want.Skipped[bpf.ReasonARP] = 1
			awaitSeen(t, l, want.Seen)
			if packets := readAll(t, l); len(packets) != 2 {
				t.Errorf("want 2 packets, got %d", len(packets))
			}
			if got := l.Stats().Counters; got != want {
				t.Errorf("want %+v\ngot  %+v", want, got)
			}
			got := stack.count(t)
			for deadline := time.Now().Add(10 * time.Second); got < tt.stack && time.Now().Before(deadline); got += stack.count(t) {
				time.Sleep(time.Millisecond)
			}
			if got != tt.stack {
				t.Errorf("want the stack to get %d frames, got %d", tt.stack, got)
			}
		})
	}
}

// awaitSeen waits until so many frames were seen: native XDP on a veth runs some time
// after they were sent.
func awaitSeen(t *testing.T, l *Live, frames uint64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); l.Stats().Seen < frames; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("want %d frames seen, got %+v", frames, l.Stats())
		}
	}
}

// listener is a packet socket on an interface: it gets what the stack gets.
type listener int

func newListener(t *testing.T, name string) listener {
	t.Helper()
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8 // in network byte order
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(socket) })
	must(t, unix.Bind(socket, &unix.SockaddrLinklayer{Protocol: all, Ifindex: linkByName(t, name).Attrs().Index}))
	return listener(socket)
}

func (l listener) count(t *testing.T) (frames int) {
	t.Helper()
	for buffer := make([]byte, 2000); ; frames++ {
		if _, err := unix.Read(int(l), buffer); err != nil {
			if !errors.Is(err, unix.EAGAIN) {
				t.Fatal(err)
			}
			return frames
		}
	}
}

// TestLiveDropRefused has nobody cut off unless that was asked for.
func TestLiveDropRefused(t *testing.T) {
	drop := LiveConfig{Interfaces: []string{"tap"}, Capture: CaptureXDP, XDPAction: XDPDrop}
	refused := func(t *testing.T, c LiveConfig, want string) {
		t.Helper()
		l, err := OpenLive(c)
		if err == nil {
			l.Close()
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
	t.Run("address", func(t *testing.T) {
		enterNamespace(t)
		addVeth(t, "tap", "far")
		addAddress(t, "tap", "10.0.0.2/24")
		refused(t, drop, "tap has the address 10.0.0.2: --xdp-action drop would cut that off")
		forced := drop
		forced.Force = true
		l := openLive(t, forced)
		if got := l.Obtained()[0]; !got.Dropped {
			t.Errorf("want packets dropped, got %v", got.String())
		}
	})
	t.Run("veth by itself", func(t *testing.T) {
		enterNamespace(t)
		addVeth(t, "tap", "far")
		auto := drop
		auto.Capture = CaptureAuto
		refused(t, auto, "would be captured by TCX")
	})
	t.Run("bridge port", func(t *testing.T) {
		enterNamespace(t)
		addVeth(t, "tap", "far")
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "br6"
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); errors.Is(err, unix.EOPNOTSUPP) {
			t.Skip("the kernel has no bridge")
		} else if err != nil {
			t.Fatal(err)
		}
		must(t, netlink.LinkSetMaster(linkByName(t, "tap"), linkByName(t, "br6")))
		refused(t, drop, "tap is a port of br6")
	})
}
