// SPDX-License-Identifier: Apache-2.0

package bpf_test

import (
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"conntap/bpf"
)

// batch is a ring sample with a header before the records.
func batch(h bpf.BatchHeader, records ...[]byte) []byte {
	b := make([]byte, 32)
	for _, record := range records {
		b = append(b, record...)
	}
	b[0], b[1] = bpf.WireVersion, byte(h.Hook)
	binary.NativeEndian.PutUint16(b[2:], h.CPU)
	binary.NativeEndian.PutUint32(b[4:], uint32(len(b)))
	binary.NativeEndian.PutUint64(b[8:], h.Sequence)
	binary.NativeEndian.PutUint64(b[16:], h.Lost)
	binary.NativeEndian.PutUint64(b[24:], h.BaseNs)
	return b
}

// The samples are those of a little-endian machine.
const (
	recordTCP4 = `
		05 00 00 00                # 5 ns after the batch
		07 01 01 02                # 7 words; packet; L2; complete
		03 00 06 12                # interface 3; TCP; SYN ACK
		28 00 ff 7f                # header length 40; window 32767
		00 00 01 00                # IP length 65536
		01 bb 9c 40                # ports 443, 40000
		e8 03 00 00  d0 07 00 00   # seq 1000, ack 2000
		0a 00 00 01  c0 00 02 02
		02 00 00 00 00 02  02 00 00 00 00 01  64 00  c8 00  # MACs; tags 100, 200`
	recordFragment6 = `
		00 00 00 00
		0e 02 4e 41                # 14 words; inner; fragment, GSO, identity, payload; IPv6, fragment
		00 00 11 00                # interface 0; UDP
		30 00 00 00                # header length 48
		dc 05 00 00                # IP length 1500
		00 00 00 00  00 00 00 00  00 00 00 00
		20 01 0d b8 00 00 00 00  00 00 00 00 00 00 00 01
		20 01 0d b8 00 00 00 00  00 00 00 00 00 00 00 02
		ef be ad de  a8 05 01 00   # id; offset 1448; more
		34 12 00 00  00 00 00 00   # partial sum
		14 00 02 00  00 00 00 00   # GSO of 2 segments of 20
		de bc 0a 00  00 00 00 00   # flow label
		0a 00                      # 10 bytes of payload
		01 02 03 04 05 06 07 08 09 0a  00 00 00 00`
	recordOwned4 = `
		00 00 00 00
		0a 01 60 02                # 10 words; packet; owner, payload; complete
		00 00 11 00                # interface 0; UDP
		1c 00 09 00                # header length 28; UDP length 9
		1d 00 00 00                # IP length 29
		9c 40 03 e7                # ports 40000, 999
		00 00 00 00  00 00 00 00
		0a 00 00 01  c0 00 02 02
		d2 04 00 00  e8 03 00 00   # pid 1234; uid 1000
		08 07 06 05 04 03 02 01    # cgroup
		63 75 72 6c 00 00 00 00  00 00 00 00 00 00 00 00  # comm
		01 00 2a 00 00 00 00 00    # 1 byte of payload`
)

func TestDecode(t *testing.T) {
	first := bpf.Packet{
		Time: 1005, Ordinal: (2*3+1)<<48 | 77, Src: src4, Dst: dst4, SrcPort: 443, DstPort: 40000,
		IPLength: 65536, HeaderLength: 40, Window: 32767, Seq: 1000, Ack: 2000, Protocol: 6,
		Flags: bpf.SYN | bpf.ACK, State: bpf.StateComplete, Kind: bpf.KindPacket, Blocks: bpf.BlockL2,
		Hook: bpf.HookTCIngress, Interface: 3, SrcMAC: srcMAC, DstMAC: dstMAC, VLAN: 100, InnerVLAN: 200,
	}
	second := bpf.Packet{
		Time: 1000, Ordinal: (2*3+1)<<48 | 77,
		Src: bpf.Addr{0x20, 1, 0xd, 0xb8, 15: 1}, Dst: bpf.Addr{0x20, 1, 0xd, 0xb8, 15: 2},
		Payload: []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, IPLength: 1500, HeaderLength: 48, Protocol: 17,
		State: bpf.StateIPv6 | bpf.StateFragment, Kind: bpf.KindInner,
		Blocks: bpf.BlockFragment | bpf.BlockGSO | bpf.BlockIdentity, Hook: bpf.HookTCIngress,
		GSOSize: 20, GSOSegments: 2, FragmentID: 0xdeadbeef, FragmentOffset: 1448, FragmentMore: true,
		FragmentSum: 0x1234, IPID: 0xabcde,
	}
	third := bpf.Packet{
		Time: 1000, Ordinal: (2*3+1)<<48 | 78, Src: src4, Dst: dst4, SrcPort: 40000, DstPort: 999,
		Payload: []byte{42}, IPLength: 29, HeaderLength: 28, Window: 9, Protocol: 17,
		State: bpf.StateComplete, Kind: bpf.KindPacket, Blocks: bpf.BlockOwner, Hook: bpf.HookTCIngress,
		Owner: &bpf.Owner{PID: 1234, UID: 1000, Cgroup: 0x102030405060708, Comm: [16]byte{'c', 'u', 'r', 'l'}},
	}
	header := bpf.BatchHeader{Version: bpf.WireVersion, Hook: bpf.HookTCIngress, CPU: 2, Sequence: 77, Lost: 9, BaseNs: 1000}
	sample := batch(header, unhex(t, recordTCP4), unhex(t, recordFragment6), unhex(t, recordOwned4))
	header.Length = uint32(len(sample))
	var b bpf.Batch
	var got bpf.Packet
	for range 2 { // a Batch can be used again
		got = bpf.Packet{Payload: []byte{1}, VLAN: 1, IPID: 1, GSOSize: 1, FragmentMore: true, Owner: &bpf.Owner{}} // of the packet before
		if err := b.Reset(sample); err != nil {
			t.Fatal(err)
		}
		if b.Header != header {
			t.Errorf("want %+v\ngot  %+v", header, b.Header)
		}
		for _, want := range []bpf.Packet{first, second, third} {
			if !b.Next(&got) {
				t.Fatal(b.Err())
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("want %+v\ngot  %+v", want, got)
			}
		}
		if b.Next(&got) || b.Err() != nil {
			t.Errorf("after the last: %+v, %v", got, b.Err())
		}
	}
	assertNoAllocation(t, func() {
		for b.Reset(sample); b.Next(&got); {
		}
	})
}

func TestDecodeGarbage(t *testing.T) {
	tests := []struct {
		name string
		edit func(sample []byte) []byte
		want string // in the error
	}{
		{"empty", func([]byte) []byte { return nil }, "0 bytes"},
		{"half a header", func(b []byte) []byte { return b[:31] }, "31 bytes"},
		{"another version", func(b []byte) []byte { b[0] = 2; return b }, "version 2"},
		{"another hook", func(b []byte) []byte { b[1] = 3; return b }, "hook 3"},
		{"length below the header", func(b []byte) []byte { b[4] = 31; return b }, "batch of 31 bytes"},
		{"length above the sample", func(b []byte) []byte { b[4]++; return b }, "in a ring sample of"},
		{"huge length", func(b []byte) []byte { b[7] = 0x80; return b }, "batch of"},
		{"bytes left over", func(b []byte) []byte { b[4] -= 56 - 8; return b }, "8 bytes after"},
		{"no words", func(b []byte) []byte { b[36] = 0; return b }, "0 words"},
		{"too few words", func(b []byte) []byte { b[36] = 6; return b }, "6 words"},
		{"too many words", func(b []byte) []byte { b[36] = 8; return b }, "8 words"},
		{"kind 0", func(b []byte) []byte { b[37] = 0; return b }, "kind 0"},
		{"kind 5", func(b []byte) []byte { b[37] = 5; return b }, "kind 5"},
		{"a block too few", func(b []byte) []byte { b[38] = 0; return b }, "blocks 0x0"},
		{"a block too many", func(b []byte) []byte { b[38] |= 2; return b }, "blocks 0x3"},
		{"an unknown block", func(b []byte) []byte { b[38] |= 0x80; return b }, "blocks 0x81"},
		{"owner without room", func(b []byte) []byte { b[38] = 0x20; return b }, "blocks 0x20"},
		{"gso without room for identity", func(b []byte) []byte { b[38] = 0x1c; return b }, "blocks 0x1c"},
		{"ipv6 without room", func(b []byte) []byte { b[39] |= 1; return b }, "state 0x3"},
		{"payload of odd length", func(b []byte) []byte { b[38] = 0x40; return b }, "blocks 0x40"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sample := tt.edit(batch(bpf.BatchHeader{}, unhex(t, recordTCP4)))
			var b bpf.Batch
			var p bpf.Packet
			for b.Reset(sample); b.Next(&p); {
			}
			if err := b.Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if b.Next(&p) {
				t.Error("goes on after an error")
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(batch(bpf.BatchHeader{}, unhex(f, recordTCP4), unhex(f, recordFragment6), unhex(f, recordOwned4)))
	f.Add(batch(bpf.BatchHeader{Hook: 2, CPU: 1, Sequence: 1 << 60}, unhex(f, recordFragment6)))
	f.Add(batch(bpf.BatchHeader{}))
	f.Fuzz(func(t *testing.T, sample []byte) {
		var b bpf.Batch
		if err := b.Reset(sample); err != nil {
			return
		}
		records, bytes := 0, 32
		for p := (bpf.Packet{}); b.Next(&p); records++ {
			if p.Kind < bpf.KindPacket || p.Kind > bpf.KindEmpty {
				t.Errorf("kind %d", p.Kind)
			}
			if p.Blocks&bpf.BlockL2 == 0 && (p.VLAN != 0 || p.SrcMAC != bpf.MAC{}) {
				t.Errorf("link layer without its block: %+v", p)
			}
			bytes += 40 + len(p.Payload)
		}
		if records*40 > len(sample) || bytes > len(sample) {
			t.Errorf("%d records and payloads of %d bytes in a sample of %d", records, bytes, len(sample))
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	tests := []struct {
		name   string
		record string
	}{
		{"tcp4", recordTCP4},
		{"fragment6", recordFragment6},
	}
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			sample := batch(bpf.BatchHeader{}, unhex(b, tt.record))
			var decoder bpf.Batch
			var p bpf.Packet
			b.ReportAllocs()
			for b.Loop() {
				if decoder.Reset(sample) != nil || !decoder.Next(&p) {
					b.Fatal(decoder.Err())
				}
			}
		})
	}
}
