// SPDX-License-Identifier: Apache-2.0

package hints

import (
	"strings"
	"testing"

	"conntap/bpf"
	"conntap/tracker"
)

func tcp(history string, orig, resp tracker.Endpoint) tracker.Conn {
	orig.Addr = bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 15: 1}
	resp.Addr = bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 15: 2}
	return tracker.Conn{Protocol: bpf.ProtocolTCP, History: []byte(history), Orig: orig, Resp: resp}
}

func TestHints(t *testing.T) {
	sound := tcp("ShADadFf", tracker.Endpoint{Packets: 5, Bytes: 100}, tracker.Endpoint{Packets: 4, Bytes: 900})
	lacking := sound
	lacking.MissedBytes = 7
	tests := []struct {
		name string
		conn tracker.Conn
		f    Frames
		want string // part of the only hint; empty for none
	}{
		{"sound", sound, Frames{}, ""},
		{
			"sender", tcp("HcADF", tracker.Endpoint{Packets: 1, BadChecksums: 9}, tracker.Endpoint{Packets: 9}),
			Frames{},
			"90 % of the packets from 10.0.0.1 have a wrong checksum",
		},
		{"few bad", tcp("ShADad", tracker.Endpoint{Packets: 9, BadChecksums: 1}, tracker.Endpoint{Packets: 9}), Frames{}, ""},
		{
			"control", tcp("ShFf", tracker.Endpoint{Packets: 2, Bytes: 50}, tracker.Endpoint{Packets: 2, Bytes: 80}),
			Frames{},
			"control packets only",
		},
		{
			"one side", tcp("SADF", tracker.Endpoint{Packets: 7, Bytes: 80}, tracker.Endpoint{}),
			Frames{},
			"100 % of the TCP connections show one direction only",
		},
		{"unanswered", tcp("S", tracker.Endpoint{Packets: 3}, tracker.Endpoint{}), Frames{}, ""},
		{"twice", tcp("ShADTadtFf", tracker.Endpoint{Packets: 10, Bytes: 100, Retransmits: 1},
			tracker.Endpoint{Packets: 8, Bytes: 900, Retransmits: 2}), Frames{}, "come twice"},
		{"retransmission", tcp("ShADTadFf", tracker.Endpoint{Packets: 6, Bytes: 100, Retransmits: 1},
			tracker.Endpoint{Packets: 8, Bytes: 900}), Frames{}, ""},
		{"snap length", lacking, Frames{Seen: 100, Cut: 40}, "40 % of the packets are cut by a snap length"},
		{"cut behind the headers", sound, Frames{Seen: 100, Cut: 40}, ""},
		{"one cut", lacking, Frames{Seen: 100, Cut: 1}, ""},
		{"offload", sound, Frames{Seen: 100, BadHeaders: 49}, "49 % of the packets have a wrong IPv4 length"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var o Observer
			for range 3 {
				o.Add(&tt.conn)
			}
			o.SetFrames(tt.f)
			got := o.New(3)
			switch {
			case tt.want == "" && len(got) > 0:
				t.Errorf("want no hint, got %q", got)
			case tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
				t.Errorf("want the hint %q, got %q", tt.want, got)
			}
			if again := o.New(3); len(again) > 0 {
				t.Errorf("want nothing said twice, got %q", again)
			}
		})
	}
}

func TestTooFew(t *testing.T) {
	var o Observer
	c := tcp("SADF", tracker.Endpoint{Packets: 7, Bytes: 80}, tracker.Endpoint{})
	o.Add(&c)
	if got := o.New(3); len(got) > 0 {
		t.Errorf("want no hint from one connection, got %q", got)
	}
}

func TestSendersAreBounded(t *testing.T) {
	var o Observer
	c := tcp("C", tracker.Endpoint{BadChecksums: 1}, tracker.Endpoint{})
	for i := range 2 * maxSenders {
		c.Orig.Addr[13], c.Orig.Addr[14] = byte(i>>8), byte(i)
		o.Add(&c)
	}
	if len(o.senders) != maxSenders {
		t.Errorf("want %d senders, got %d", maxSenders, len(o.senders))
	}
}

// TestHiddenSender: a hint has the address that the log has.
func TestHiddenSender(t *testing.T) {
	o := Observer{Written: func(a bpf.Addr) bpf.Addr {
		a[15] = 0
		return a
	}}
	c := tcp("HcADF", tracker.Endpoint{Packets: 1, BadChecksums: 9}, tracker.Endpoint{Packets: 9})
	o.Add(&c)
	if got := o.New(1); len(got) != 1 || !strings.Contains(got[0], "from 10.0.0.0 have") {
		t.Errorf("want a hint about 10.0.0.0, got %q", got)
	}
}
