// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// openPacketSource opens packet sockets that the test closes.
func openPacketSource(t testing.TB, c LiveConfig) *packetCapture {
	t.Helper()
	if c.RingBytes == 0 {
		c.RingBytes = testRing
	}
	c.Capture = CaptureAFPacket
	s, err := openPackets(c)
	must(t, err)
	t.Cleanup(func() {
		s.Close()
		s.Close()
	})
	return s
}

// readRest closes s and reads what it still holds; payloads are not kept.
func readRest(t testing.TB, s LiveSource) (all []bpf.Packet) {
	t.Helper()
	must(t, s.Close())
	dst := make([]bpf.Packet, 100)
	for {
		n, err := s.Read(dst)
		all = append(all, dst[:n]...)
		if err == io.EOF {
			return all
		}
		must(t, err)
	}
}

// checkBalance holds the account of a closed source against what it returned.
func checkBalance(t *testing.T, s LiveSource, offered, packets uint64) {
	t.Helper()
	stats := s.Stats()
	sum := stats.Recorded + stats.Filtered + stats.Lost
	for _, n := range stats.Skipped {
		sum += n
	}
	if stats.Seen != sum || stats.Seen != offered || stats.Packets != packets {
		t.Errorf("want %d seen and accounted for, %d packets returned; got %+v", offered, packets, stats)
	}
}

func TestPacketDirections(t *testing.T) {
	tests := []struct {
		name    string
		address string
		config  LiveConfig
		want    string // of the start line
		hooks   string // of the packets that come, in order
	}{
		{"host", "10.0.0.2/24", LiveConfig{}, "in AF_PACKET, out AF_PACKET", "1 2"},
		{"mirror port", "", LiveConfig{}, "in AF_PACKET, promiscuous", "1"},
		{"in", "10.0.0.2/24", LiveConfig{Direction: DirectionIn}, "in AF_PACKET", "1"},
		{"out", "10.0.0.2/24", LiveConfig{Direction: DirectionOut}, "out AF_PACKET", "2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			enterNamespace(t)
			addVeth(t, "tap", "far")
			if tt.address != "" {
				addAddress(t, "tap", tt.address)
			}
			tt.config.Interfaces = []string{"tap"}
			s := openPacketSource(t, tt.config)
			got := s.Obtained()[0]
			if text := got.String(); !strings.HasSuffix(text, "): "+tt.want) {
				t.Errorf("want %q, got %q", tt.want, text)
			}
			if promiscuous := linkByName(t, "tap").Attrs().Promisc != 0; promiscuous != got.Promiscuous {
				t.Errorf("want the interface promiscuous: %v, got %v", got.Promiscuous, promiscuous)
			}
			newSender(t, "far").send(t, udpFrame(1, 30), arpFrame())
			newSender(t, "tap").send(t, udpFrame(2, 30), arpFrame())
			var hooks []string
			packets := readRest(t, s)
			for _, p := range packets {
				hooks = append(hooks, fmt.Sprint(uint8(p.Hook)))
				if p.SrcPort != uint16(p.Hook) || p.IPLength != 58 || p.State&bpf.StateComplete == 0 {
					t.Errorf("want port %d, length 58, complete; got %+v", p.Hook, p)
				}
			}
			if got := strings.Join(hooks, " "); got != tt.hooks {
				t.Errorf("want packets on hooks %q, got %q", tt.hooks, got)
			}
			n := uint64(len(packets))
			checkBalance(t, s, 2*n, n)
			for _, row := range s.HookStats() {
				if row.Seen != 2 || row.Recorded != 1 || row.Skipped[bpf.ReasonARP] != 1 {
					t.Errorf("want a packet and an ARP frame per direction, got %+v", row)
				}
			}
			checkNothingLeft(t, "tap")
		})
	}
}

// TestPacketLoopback sees each packet once, though it goes out and comes in.
func TestPacketLoopback(t *testing.T) {
	enterNamespace(t)
	must(t, netlink.LinkSetUp(linkByName(t, "lo")))
	s := openPacketSource(t, LiveConfig{Interfaces: []string{"lo"}})
	newSender(t, "lo").send(t, udpFrame(1, 30))
	if packets := readRest(t, s); len(packets) != 1 || packets[0].Hook != bpf.HookTCIngress {
		t.Errorf("want 1 packet, incoming; got %+v", packets)
	}
}

// TestPacketBareIP has an interface whose frames start with the IP header.
func TestPacketBareIP(t *testing.T) {
	enterNamespace(t)
	tun := addTun(t, "tap")
	s := openPacketSource(t, LiveConfig{Interfaces: []string{"tap"}})
	_, err := tun.Write(udpFrame(1, 30)[14:])
	must(t, err)
	out, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(out)
	must(t, unix.Sendto(out, make([]byte, 30), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{10, 0, 0, 1}}))
	packets := readRest(t, s)
	if len(packets) != 2 {
		t.Fatalf("want 2 packets, got %d", len(packets))
	}
	for i, p := range packets {
		if p.IPLength != 58 || p.DstPort != 9 || p.Blocks&bpf.BlockL2 != 0 || int(p.Hook) != i+1 {
			t.Errorf("want one in, one out, of 58 bytes, without MACs; got %+v", p)
		}
	}
}

// TestPacketVLAN has tags that the stack takes off before a socket sees the frame.
func TestPacketVLAN(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	s := openPacketSource(t, LiveConfig{Interfaces: []string{"tap"}})
	packet := udpFrame(1, 30)[14:]
	tests := []struct {
		frame       []byte
		vlan, inner uint16
	}{
		{frametest.Ethernet(frametest.TypeIPv4, packet), 0, 0},
		{frametest.Ethernet(0x8100, frametest.Tag(0x6007, frametest.TypeIPv4), packet), 7, 0},
		{frametest.Ethernet(0x88a8, frametest.Tag(7, 0x8100), frametest.Tag(8, frametest.TypeIPv4), packet), 7, 8},
		{frametest.Ethernet(0x8100, frametest.Tag(0, 0x8100), frametest.Tag(9, frametest.TypeIPv4), packet), 9, 0},
	}
	far := newSender(t, "far")
	for _, tt := range tests {
		far.send(t, tt.frame)
	}
	packets := readRest(t, s)
	if len(packets) != len(tests) {
		t.Fatalf("want %d packets, got %d", len(tests), len(packets))
	}
	for i, tt := range tests {
		p := packets[i]
		if p.VLAN != tt.vlan || p.InnerVLAN != tt.inner || p.IPLength != 58 || p.SrcMAC != bpf.MAC(tt.frame[6:12]) || p.DstMAC != bpf.MAC(tt.frame[:6]) {
			t.Errorf("want VLANs %d and %d, got %+v", tt.vlan, tt.inner, p)
		}
	}
}

// superSender hands super-packets to an interface, behind a struct virtio_net_hdr.
func superSender(t *testing.T, name string) *sender {
	t.Helper()
	s := newSender(t, name)
	must(t, unix.SetsockoptInt(s.socket, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
	return s
}

// superFrame is a frame of TCP or UDP over IPv4 to be cut into segments of size bytes,
// as a superSender takes it.
func superFrame(protocol uint8, payload, size int) []byte {
	const tcp, udp = 1, 5 // VIRTIO_NET_HDR_GSO_TCPV4, _UDP_L4
	kind, header, checksum := byte(tcp), 54, byte(16)
	transport := frametest.Segment{SrcPort: 1, DstPort: 2, Seq: 1000, Flags: uint8(bpf.ACK | bpf.PSH | bpf.FIN)}.Bytes(make([]byte, payload)...)
	binary.BigEndian.PutUint16(transport[16:], pseudoHeader(protocol, len(transport)))
	if protocol == frametest.UDP {
		kind, header, checksum = udp, 42, 6
		transport = frametest.Datagram(1, 2, make([]byte, payload)...)
		binary.BigEndian.PutUint16(transport[6:], pseudoHeader(protocol, len(transport)))
	}
	b := []byte{1, kind} // VIRTIO_NET_HDR_F_NEEDS_CSUM
	for _, n := range []int{header, size, 34, int(checksum)} {
		b = binary.NativeEndian.AppendUint16(b, uint16(n))
	}
	return append(b, frametest.Ethernet(frametest.TypeIPv4, frametest.IPv4{Protocol: protocol}.Packet(transport))...)
}

// pseudoHeader is what stands in a checksum field that the device is to complete.
func pseudoHeader(protocol uint8, length int) uint16 {
	header := frametest.IPv4{Protocol: protocol}.Packet()[12:20]
	header = append(header, 0, protocol)
	return ^frametest.Checksum(binary.BigEndian.AppendUint16(header, uint16(length)))
}

// TestPacketEqualsTCX has all kinds of frames come by both ways in at the same time:
// what comes out is the same.
func TestPacketEqualsTCX(t *testing.T) {
	tests := []struct {
		name   string
		verify bool
		filter string
		sample uint32
		least  int // packets
	}{
		{"headers", false, "", 1, 5000},
		{"checksums", true, "", 1, 5000},
		{"filter and sample", false, "tcp or src port 53 or vlan 7 or ip6", 2, 500},
	}
	kernel, _, err := runningKernel()
	must(t, err)
	frames := ownFrames()[:5000]
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			verify := tt.verify
			enterNamespace(t)
			addVeth(t, "tap", "far")
			addAddress(t, "tap", "10.0.0.2/24")
			c := LiveConfig{Interfaces: []string{"tap"}, RingBytes: 32 << 20, VerifyChecksums: verify}
			c.Selection.Sample = tt.sample
			if tt.filter != "" {
				c.Selection.Filter = parseFilter(t, tt.filter)
			}
			l, s := openLive(t, c), openPacketSource(t, c)
			var left int // with headers beyond the snap length
			far := newSender(t, "far")
			for _, frame := range frames {
				if !verify && beyondSnap(frame) {
					left++
				} else if len(frame) > 14 && len(frame) <= 1514 {
					far.send(t, frame)
				}
			}
			for _, name := range []string{"far", "tap"} {
				super := superSender(t, name)
				super.send(t, superFrame(frametest.TCP, 65000, 1448), superFrame(frametest.TCP, 1449, 1448), superFrame(frametest.TCP, 2000, 1000))
				if !kernel.before(kernelVersion{6, 2}) { // has UDP's in struct virtio_net_hdr
					super.send(t, superFrame(frametest.UDP, 50000, 1472))
				}
			}
			want, got := readRest(t, l), readRest(t, s)
			if a, b := l.Stats(), s.Stats(); a.Counters != b.Counters || b.Lost != 0 || b.Packets != countOutermost(got) {
				t.Errorf("want %+v\ngot  %+v", a, b)
			}
			for i := range want {
				if i >= len(got) || !equalPacket(&want[i], &got[i]) {
					t.Fatalf("packet %d of %d, %d:\nwant %+v\ngot  %+v", i, len(want), len(got), want[i], got[min(i, len(got)-1)])
				}
			}
			if len(want) < tt.least || left > 50 {
				t.Errorf("only %d packets compared, %d frames left out", len(want), left)
			}
			if filtered := s.Stats().Filtered != 0; filtered != (tt.least < 5000) {
				t.Errorf("filtered: %v", filtered)
			}
		})
	}
}

// beyondSnap tells a frame with more headers than are copied into the ring.
func beyondSnap(frame []byte) bool {
	if len(frame) <= packetSnap {
		return false
	}
	parser := bpf.Parser{Link: bpf.LinkEthernet, Tunnels: true, AssumePayload: true}
	var whole, cut [bpf.PacketsMax]bpf.Packet
	n, reason := parser.Parse(frame, len(frame), whole[:])
	m, other := parser.Parse(frame[:packetSnap], len(frame), cut[:])
	return reason != other || !slices.EqualFunc(whole[:n], cut[:m], func(a, b bpf.Packet) bool { return equalPacket(&a, &b) })
}

// equalPacket compares but for what depends on time, and on how much payload is at
// hand.
func equalPacket(a, b *bpf.Packet) bool {
	x, y := *a, *b
	x.Payload, y.Payload = nil, nil
	x.Time, x.Ordinal, x.IPID, x.FragmentSum = y.Time, y.Ordinal, y.IPID, y.FragmentSum
	if x.Kind == bpf.KindViolation || x.Kind == bpf.KindEmpty {
		x.Src, x.Dst = y.Src, y.Dst
	}
	x.Blocks &^= bpf.BlockIdentity | bpf.BlockPayload
	y.Blocks &^= bpf.BlockIdentity
	return reflect.DeepEqual(x, y)
}

// TestPacketSuper counts super-packets as the packets that they become on the wire.
func TestPacketSuper(t *testing.T) {
	for _, verify := range []bool{false, true} {
		enterNamespace(t)
		addVeth(t, "tap", "far")
		s := openPacketSource(t, LiveConfig{Interfaces: []string{"tap"}, Direction: DirectionOut, VerifyChecksums: verify})
		superSender(t, "tap").send(t, superFrame(frametest.TCP, 65000, 1448))
		packets := cutRuns(readRest(t, s))
		checkBalance(t, s, 1, 45) // 44 of 1448 bytes, and 1288
		var payload uint32
		for i, p := range packets {
			last := i == len(packets)-1
			if p.Seq != 1000+payload || last != (p.Flags&bpf.FIN != 0) || !last && p.IPLength != 1488 {
				t.Errorf("segment %d: got %+v", i, p)
			}
			if want := bpf.ChecksumNotFinal; verify && p.Checksum() != want {
				t.Errorf("segment %d: want checksum %v, got %v", i, want, p.Checksum())
			}
			payload += p.PayloadLength()
		}
		if payload != 65000 {
			t.Errorf("want 65000 bytes of payload, got %d", payload)
		}
	}
}

// TestPacketOrder merges several interfaces by time.
func TestPacketOrder(t *testing.T) {
	enterNamespace(t)
	names := []string{"tap0", "tap1", "tap2"}
	var senders []*sender
	for i, name := range names {
		addVeth(t, name, fmt.Sprint("far", i))
		senders = append(senders, newSender(t, name))
	}
	s := openPacketSource(t, LiveConfig{Interfaces: names, Direction: DirectionOut, NoTunnels: true}) // some ports are those of tunnels
	const sent = 3000
	before := bootTime()
	var all []bpf.Packet
	dst := make([]bpf.Packet, 37)
	read := func() {
		watermark := s.Now()
		n, err := s.Read(dst)
		must(t, err)
		for i := range dst[:n] {
			if dst[i].Time < watermark {
				t.Fatalf("packet of %d came after Now said %d", dst[i].Time, watermark)
			}
		}
		all = append(all, dst[:n]...)
	}
	for port := range uint16(sent) {
		senders[port%2].send(t, udpFrame(port, 30)) // tap2 is idle
		if port%500 == 0 {
			read()
		}
	}
	after := bootTime()
	for deadline := time.Now().Add(2 * time.Second); len(all) < sent && time.Now().Before(deadline); {
		read()
	}
	if len(all) != sent {
		t.Fatalf("want %d packets, got %d", sent, len(all))
	}
	ordinals := map[uint64]bool{}
	for i, p := range all {
		if int(p.SrcPort) != i || int(p.Interface) != i%2 || ordinals[p.Ordinal] || p.Time < before || p.Time > after {
			t.Fatalf("packet %d: got %+v, sent from %d to %d", i, p, before, after)
		}
		ordinals[p.Ordinal] = true
	}
	for range 3 { // time moves on without packets
		must(t, errOf(s.Read(dst)))
	}
	if lag := bootTime() - s.Now(); lag > int64(2*readTimeout) {
		t.Errorf("idle: Now lags by %d ns", lag)
	}
	if now, wall := s.Now()+s.ClockOffset(), time.Now().UnixNano(); wall-now > 1e9 || wall < now {
		t.Errorf("Now is %d on the wall clock, which says %d", now, wall)
	}
}

func errOf(_ int, err error) error { return err }

// outgoing captures what leaves by far: that comes while it is sent, and is not
// dropped before.
func outgoing(ring int) LiveConfig {
	return LiveConfig{Interfaces: []string{"far"}, Direction: DirectionOut, RingBytes: ring}
}

// TestPacketAge sends a packet now and then, and reads: each comes before a block is
// full.
func TestPacketAge(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	s := openPacketSource(t, outgoing(testRing))
	far, dst := newSender(t, "far"), make([]bpf.Packet, 100)
	var ages []time.Duration
	for range 50 {
		far.send(t, udpFrame(1, 30))
		for {
			n, err := s.Read(dst)
			must(t, err)
			if n > 0 {
				ages = append(ages, time.Duration(bootTime()-dst[0].Time))
				break
			}
		}
	}
	slices.Sort(ages)
	t.Logf("packets were %v old (median), %v (highest)", ages[len(ages)/2], ages[len(ages)-1])
}

// TestPacketOverflow offers more than a ring holds, of several blocks: what came and
// what was lost is what was offered.
func TestPacketOverflow(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	tests := []struct {
		name string
		read bool // on
	}{{"read on", true}, {"given up", false}}
	for _, tt := range tests {
		s := openPacketSource(t, outgoing(ringLeast))
		far, frame := newSender(t, "far"), udpFrame(1, 30)
		const sent = 4000
		for range sent {
			far.send(t, frame)
		}
		var packets []bpf.Packet
		if tt.read {
			packets = readRest(t, s)
		} else {
			must(t, errors.Join(s.Close(), s.Close()))
		}
		if r := s.Rings()[0]; r.Size != ringLeast || tt.read && r.Highest < r.Size*9/10 {
			t.Errorf("want a ring of %d bytes that was full, got %+v", ringLeast, r)
		}
		stats := s.Stats()
		checkBalance(t, s, sent, uint64(len(packets)))
		if stats.Recorded != uint64(len(packets)) || stats.Lost != sent-stats.Recorded || tt.read && stats.Recorded < 100 {
			t.Errorf("%s: want %d = recorded + lost, got %+v", tt.name, sent, stats)
		}
		if lost := s.LostBetween(0, bootTime()); tt.read && lost != stats.Lost {
			t.Errorf("want %d lost by time, got %d", stats.Lost, lost)
		}
		if n, err := s.Read(make([]bpf.Packet, 1)); n != 0 || err != io.EOF {
			t.Errorf("want io.EOF again, got %d, %v", n, err)
		}
	}
}

// TestPacketReadsThrough keeps the ring going round many times, with dst of every
// length, and looks at payloads up to the next but one Read.
func TestPacketReadsThrough(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	s := openPacketSource(t, outgoing(256<<10))
	far := newSender(t, "far")
	var sent, got int
	var before []bpf.Packet // of the Read before
	check := func(packets []bpf.Packet) {
		for i, p := range packets {
			if want := got - len(packets) + i; len(p.Payload) != 30 || binary.BigEndian.Uint32(p.Payload) != uint32(want) {
				t.Fatalf("packet %d: got payload %x", want, p.Payload)
			}
		}
	}
	for round := range 100 {
		for range 100 {
			frame := udpFrame(53, 30)
			binary.BigEndian.PutUint32(frame[42:], uint32(sent))
			far.send(t, frame)
			sent++
		}
		for got < sent {
			dst := make([]bpf.Packet, 1+round%130)
			n, err := s.Read(dst)
			must(t, err)
			check(before)
			before = dst[:n]
			got += n
			check(before)
		}
	}
	readRest(t, s)
	checkBalance(t, s, uint64(sent), uint64(sent))
	if lost := s.Stats().Lost; lost != 0 {
		t.Errorf("want none lost, got %d", lost)
	}
}

// TestPacketClose closes while packets come, of both directions and two interfaces.
func TestPacketClose(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	s := openPacketSource(t, LiveConfig{Interfaces: []string{"tap", "far"}, Direction: DirectionBoth})
	senders := []*sender{newSender(t, "tap"), newSender(t, "far")}
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for _, far := range senders {
		busy.Go(func() {
			for frame := udpFrame(1, 30); ; {
				select {
				case <-stop:
					return
				default:
					_ = unix.Sendto(far.socket, frame, 0, &far.to)
				}
			}
		})
	}
	dst := make([]bpf.Packet, 500)
	var returned uint64
	for returned < 20_000 {
		n, err := s.Read(dst)
		must(t, err)
		returned += uint64(n)
	}
	packets := readRest(t, s)
	close(stop)
	busy.Wait()
	returned += uint64(len(packets))
	stats := s.Stats()
	checkBalance(t, s, stats.Recorded+stats.Lost, returned)
	if stats.Recorded != returned {
		t.Errorf("want %d recorded, got %+v", returned, stats)
	}
}

// TestPacketRights has that CAP_NET_RAW is enough, and needed.
func TestPacketRights(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	c := LiveConfig{Interfaces: []string{"tap"}, Capture: CaptureAFPacket, RingBytes: ringLeast, Promiscuous: PromiscuousOn}
	withCapabilities(t, []Capability{CapNetRaw}, func() {
		s, err := Open(c)
		must(t, err)
		must(t, errors.Join(s.Close(), s.Close()))
		c.Capture = CaptureAuto
		_, err = Open(c)
		if !strings.HasPrefix(message(err), "live capture needs CAP_BPF") || !strings.Contains(message(err), "--capture afpacket") {
			t.Errorf("without BPF: want advice, got %v", err)
		}
		r, err := Check("", "tap")
		must(t, err)
		if r.OK || !r.AFPacket {
			t.Errorf("want AF_PACKET alone, got %+v", r)
		}
	})
	withCapabilities(t, nil, func() {
		c.Capture = CaptureAFPacket
		_, err := Open(c)
		const want = "live capture needs CAP_NET_RAW; not held: CAP_NET_RAW. Run it with sudo, or once: sudo setcap cap_net_raw+ep "
		if !strings.HasPrefix(message(err), want) {
			t.Errorf("\nwant %s\ngot  %v", want, err)
		}
	})
}

// TestPacketDown sees an interface go down and come up.
func TestPacketDown(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	s := openPacketSource(t, LiveConfig{Interfaces: []string{"tap"}})
	must(t, netlink.LinkSetDown(linkByName(t, "tap")))
	must(t, netlink.LinkSetUp(linkByName(t, "tap")))
	far, dst := newSender(t, "far"), make([]bpf.Packet, 10)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		far.send(t, udpFrame(1, 30)) // the first ones are lost: the kernel takes its time
		n, err := s.Read(dst)
		must(t, err)
		if n > 0 {
			return
		}
	}
	t.Error("want packets again")
}

func TestPacketLeaks(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	cycle := func() {
		c := LiveConfig{Interfaces: []string{"tap"}, RingBytes: ringLeast, Capture: CaptureAFPacket}
		s, err := openPackets(c)
		must(t, err)
		must(t, errors.Join(s.Close(), s.Close()))
		c.RingBytes = 1 << 30
		c.Interfaces = []string{"tap", "eth9"}
		if _, err := openPackets(c); err == nil {
			t.Error("want an error for an interface that is not there")
		}
	}
	cycle()
	before := openFiles(t)
	cycle()
	if after := openFiles(t); after != before {
		t.Errorf("want %d open files, got %d", before, after)
	}
}

func TestPacketReadAllocates(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	s := openPacketSource(t, outgoing(16<<20))
	far, frame := newSender(t, "far"), udpFrame(53, 30)
	for range 30_000 {
		far.send(t, frame)
	}
	dst := make([]bpf.Packet, 256)
	read := func() {
		if n, err := s.Read(dst); n != len(dst) || err != nil {
			t.Errorf("want %d packets, got %d, %v", len(dst), n, err)
		}
	}
	if n := testing.AllocsPerRun(100, read); n > 0 {
		t.Errorf("want no allocation, got %v", n)
	}
}

// TestSteady steps the wall clock around packets of one block.
func TestSteady(t *testing.T) {
	const hour, ms = int64(time.Hour), int64(time.Millisecond)
	tests := []struct {
		name           string
		offset, before int64
		stamp          int64
		want           int64
	}{
		{"no step", hour, hour, hour + 105*ms, 105 * ms},
		{"stepped forward, stamped after", 2 * hour, hour, 2*hour + 105*ms, 105 * ms},
		{"stepped forward, stamped before", 2 * hour, hour, hour + 105*ms, 105 * ms},
		{"stepped back, stamped after", hour, 2 * hour, hour + 105*ms, 105 * ms},
		{"stepped back, stamped before", hour, 2 * hour, 2*hour + 105*ms, 105 * ms},
		{"stepped twice, stamped in between", hour, 3 * hour, 2*hour + 105*ms, 110 * ms},
		{"stepped twice, back", 3 * hour, 3 * hour, 2*hour + 105*ms, 100 * ms},
		{"stamped a little before the one before it", hour, 2 * hour, hour + 100*ms - 5000, 100 * ms},
		{"clocks read apart", hour, hour - 5*ms, hour + 110*ms + 500, 110 * ms},
	}
	for _, tt := range tests {
		c := stampClock{wallClock{offset: tt.offset}, tt.before}
		if got := c.steady(tt.stamp, 100*ms, 110*ms); got != tt.want {
			t.Errorf("%s: want %d, got %d", tt.name, tt.want, got)
		}
	}
}

// TestStampClockStep keeps the offset before a step, however the clock is slewed
// after it.
func TestStampClockStep(t *testing.T) {
	var c stampClock
	c.look()
	first := c.offset
	if c.before != first {
		t.Errorf("want %d, got %d", first, c.before)
	}
	c.offset += 5e9
	c.changed(first)
	c.offset += 1000
	c.changed(c.offset - 1000)
	if c.before != first {
		t.Errorf("after a step: want %d, got %d", first, c.before)
	}
}

// BenchmarkPacketRead measures ring to packet, without the kernel's share.
func BenchmarkPacketRead(b *testing.B) {
	enterNamespace(b)
	addVeth(b, "tap", "far")
	s := openPacketSource(b, outgoing(32<<20))
	far, frame, dst := newSender(b, "far"), udpFrame(1, 30), make([]bpf.Packet, 512)
	const burst = 100_000
	var records int
	for b.Loop() {
		b.StopTimer()
		for range burst {
			far.send(b, frame)
		}
		b.StartTimer()
		for got := 0; got < burst; {
			n, err := s.Read(dst)
			must(b, err)
			got += n
		}
		records += burst
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
}
