// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"testing"
	"time"

	"conntap/bpf"
)

// talk makes the packets of one TCP connection that opens, says things and closes.
type talk struct {
	packets      []bpf.Packet
	client       bpf.Packet // a packet of the client's, without payload
	seq          [2]uint32
	now, ordinal int64
}

func newTalk(now int64, ordinal int, port uint16) *talk {
	t := &talk{now: now, ordinal: int64(ordinal), seq: [2]uint32{1000, 5000}}
	t.client = bpf.Packet{Kind: bpf.KindPacket, Protocol: bpf.ProtocolTCP, State: bpf.StateComplete, HeaderLength: 40, Window: 1000}
	t.client.Src = bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 15: 1}
	t.client.Dst = bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 15: 2}
	t.client.SrcPort, t.client.DstPort = uint16(40000+ordinal), port
	t.send(orig, bpf.SYN, "")
	t.send(resp, bpf.SYN|bpf.ACK, "")
	t.send(orig, bpf.ACK, "")
	return t
}

func (t *talk) send(side int, flags bpf.Flags, payload string) {
	p := t.client
	if side == resp {
		p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	}
	t.now += int64(time.Millisecond)
	t.ordinal++
	p.Time, p.Ordinal, p.Flags = t.now, uint64(t.ordinal), flags
	p.Seq, p.Ack = t.seq[side], t.seq[1-side]
	p.IPLength, p.Payload = 40+uint32(len(payload)), []byte(payload)
	t.seq[side] += segmentLength(flags, uint32(len(payload)))
	t.packets = append(t.packets, p)
}

func (t *talk) say(side int, payload string) { t.send(side, bpf.ACK|bpf.PSH, payload) }

func (t *talk) close() {
	t.send(orig, bpf.FIN|bpf.ACK, "")
	t.send(resp, bpf.FIN|bpf.ACK, "")
	t.send(orig, bpf.ACK, "")
}

// services tracks the packets of all talks, one talk after the other, and returns
// service and history of each connection, in order of their ends.
func services(talks ...*talk) []string {
	var rows []string
	tr := New(Config{}, func(c *Conn) { rows = append(rows, c.Service+" "+string(c.History)) })
	for _, t := range talks {
		tr.Track(t.packets)
	}
	tr.Close()
	return rows
}

func checkRows(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("want %d rows %q, got %q", len(want), want, got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("row %d: want %q, got %q", i, want[i], got[i])
		}
	}
}

// TestServiceOfInteractive checks that SSH on any port may be silent for an hour,
// once it is confirmed.
func TestServiceOfInteractive(t *testing.T) {
	ssh := newTalk(base, 0, 2222)
	ssh.say(resp, "SSH-2.0-a\r\n")
	ssh.say(orig, "SSH-2.0-b\r\n")
	ssh.say(orig, "\x00\x00\x00\x0c\x0a\x15"+string(make([]byte, 10)))
	ssh.now += int64(50 * time.Minute)
	ssh.say(resp, "still there")
	checkRows(t, services(ssh), "ssh ShAdD")

	other := newTalk(base, 0, 2222)
	other.say(orig, "SSH-2.0-b\r\n")
	other.now += int64(50 * time.Minute)
	other.say(resp, "still there")
	checkRows(t, services(other), " ShAD", " D")
}

// TestServiceOfExpected checks a data connection of FTP: named if it was announced,
// and only once.
func TestServiceOfExpected(t *testing.T) {
	ftp := newTalk(base, 0, 21)
	ftp.say(orig, "PASV\r\n")
	ftp.say(resp, "227 Entering Passive Mode (10,0,0,2,4,1)\r\n")
	first := newTalk(ftp.now, 100, 1025)
	first.say(resp, "file")
	first.close()
	second := newTalk(first.now+int64(10*time.Second), 200, 1025)
	second.say(resp, "file")
	second.close()
	checkRows(t, services(ftp, first, second), "ftp-data ShAdFf", "ftp ShADd", " ShAdFf")
}

// TestServiceAtTheEnd checks that a line without an end counts when its side's data
// is complete, and that only data that was delivered does.
func TestServiceAtTheEnd(t *testing.T) {
	line := newTalk(base, 0, 21)
	line.say(orig, "USER anonymous")
	line.close()
	checkRows(t, services(line), "ftp ShADFf")

	late := newTalk(base, 0, 80)
	late.seq[orig] += 16
	late.send(resp, bpf.ACK, "") // what it acknowledges comes too late
	late.seq[orig] -= 16
	late.say(orig, "GET / HTTP/1.1\r\n")
	late.close()
	checkRows(t, services(late), " ShAaGDFf")
}

// TestServiceOfDNS checks the letter and the name of DNS over UDP and over TCP.
func TestServiceOfDNS(t *testing.T) {
	query := "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"
	update := query[:2] + "\x28" + query[3:]
	for _, tt := range []struct{ message, want string }{{query, "dns ShADFf"}, {update, " ShADXFf"}} {
		tcp := newTalk(base, 0, 53)
		tcp.say(orig, "\x00\x13"+tt.message)
		tcp.close()
		checkRows(t, services(tcp), tt.want)
	}
	for _, tt := range []struct{ message, want string }{{query, "dns D"}, {update, " DX"}} {
		udp := newTalk(base, 0, 53)
		p := udp.packets[0]
		p.Protocol, p.HeaderLength, p.Payload = bpf.ProtocolUDP, 28, []byte(tt.message)
		p.IPLength, p.Window = 28+uint32(len(tt.message)), 8+uint16(len(tt.message))
		udp.packets = []bpf.Packet{p}
		checkRows(t, services(udp), tt.want)
	}
}

// TestServiceFreesState checks that nothing of the analyzers outlives the
// connections.
func TestServiceFreesState(t *testing.T) {
	tr := New(Config{}, func(*Conn) {})
	for i := range 10 {
		open := newTalk(base+int64(i)*int64(time.Second), i*10, 21)
		open.say(orig, "USER")
		tr.Track(open.packets)
	}
	if tr.services.Held() == 0 {
		t.Error("want state for open connections")
	}
	tr.Close()
	if n := tr.services.Held(); n != 0 {
		t.Errorf("want nothing held after the end, got %d", n)
	}
}
