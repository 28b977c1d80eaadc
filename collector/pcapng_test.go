// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"conntap/bpf"
)

// blocks builds a pcapng file by hand.
type blocks struct {
	order binary.AppendByteOrder
	bytes []byte
}

func (b *blocks) block(kind uint32, body ...byte) {
	body = append(body, make([]byte, -len(body)&3)...)
	b.bytes = b.order.AppendUint32(b.bytes, kind)
	b.bytes = b.order.AppendUint32(b.bytes, uint32(12+len(body)))
	b.bytes = append(b.bytes, body...)
	b.bytes = b.order.AppendUint32(b.bytes, uint32(12+len(body)))
}

func (b *blocks) words(values ...uint32) (body []byte) {
	for _, v := range values {
		body = b.order.AppendUint32(body, v)
	}
	return body
}

func (b *blocks) section() *blocks {
	body := b.words(byteOrderMagic)
	body = b.order.AppendUint16(body, 1)
	body = b.order.AppendUint16(body, 0)
	b.block(blockSection, b.order.AppendUint64(body, math.MaxUint64)...)
	return b
}

// nic adds an interface; options are codes and values in turn.
func (b *blocks) nic(link uint16, snapLength uint32, options ...any) *blocks {
	body := b.order.AppendUint16(nil, link)
	body = b.order.AppendUint16(body, 0)
	body = b.order.AppendUint32(body, snapLength)
	for i := 0; i < len(options); i += 2 {
		value := options[i+1].([]byte)
		body = b.order.AppendUint16(body, uint16(options[i].(int)))
		body = b.order.AppendUint16(body, uint16(len(value)))
		body = append(append(body, value...), make([]byte, -len(value)&3)...)
	}
	b.block(blockInterface, body...)
	return b
}

func (b *blocks) enhanced(nic uint32, time uint64, frame []byte) *blocks {
	body := b.words(nic, uint32(time>>32), uint32(time), uint32(len(frame)), uint32(len(frame)))
	b.block(blockEnhancedPacket, append(body, frame...)...)
	return b
}

func (b *blocks) obsolete(nic uint16, time uint64, frame []byte) *blocks {
	body := b.order.AppendUint16(nil, nic)
	body = b.order.AppendUint16(body, 0xffff)
	body = append(body, b.words(uint32(time>>32), uint32(time), uint32(len(frame)), uint32(len(frame)))...)
	b.block(blockPacket, append(body, frame...)...)
	return b
}

func (b *blocks) simple(wire int, frame []byte) *blocks {
	b.block(blockSimplePacket, append(b.words(uint32(wire)), frame...)...)
	return b
}

func (b *blocks) other(kind uint32) *blocks {
	b.block(kind, 1, 2, 3, 4)
	return b
}

func little() *blocks { return &blocks{order: binary.LittleEndian} }

func TestOpenFilesPcapng(t *testing.T) {
	ether := datagram(7, "seven")
	offset := binary.LittleEndian.AppendUint64(nil, 1_000_000)
	minusOne := binary.LittleEndian.AppendUint64(nil, math.MaxUint64)
	const second = uint64(1e6)
	big := (&blocks{order: binary.BigEndian}).section().nic(1, 0).enhanced(0, 3*second, ether)
	tests := []struct {
		name  string
		file  *blocks
		times []int64
	}{
		{"default resolution", little().section().nic(1, 0).enhanced(0, 3*second+5, ether), []int64{3_000_005_000}},
		{"big-endian", big, []int64{3e9}},
		{"ns", little().section().nic(1, 0, 9, []byte{9}).enhanced(0, 3_000_005_999, ether), []int64{3_000_005_000}},
		{"ms", little().section().nic(1, 0, 9, []byte{3}).enhanced(0, 3_004, ether), []int64{3_004_000_000}},
		{"seconds", little().section().nic(1, 0, 9, []byte{0}).enhanced(0, 3, ether), []int64{3e9}},
		{"binary", little().section().nic(1, 0, 9, []byte{0x80 | 10}).enhanced(0, 3*1024+512, ether), []int64{3_500_000_000}},
		{"finest binary", little().section().nic(1, 0, 9, []byte{0x80 | 63}).enhanced(0, 1<<62, ether), []int64{500_000_000}},
		{"offset", little().section().nic(1, 0, 14, offset).enhanced(0, 3*second, ether), []int64{1_000_003e9}},
		{"offset below 1970", little().section().nic(1, 0, 14, minusOne).enhanced(0, 0, ether), []int64{0}},
		{"beyond any clock", little().section().nic(1, 0).enhanced(0, math.MaxUint64, ether), []int64{maxSeconds * 1e9}},
		{"short options are ignored", little().section().nic(1, 0, 9, []byte{}, 14, []byte{1}).enhanced(0, second, ether), []int64{1e9}},
		{"options after the end", little().section().nic(1, 0, 0, []byte{}, 9, []byte{9}).enhanced(0, second, ether), []int64{1e9}},
		{
			"interfaces of their own", little().section().nic(1, 0, 9, []byte{9}).nic(1, 0).
				enhanced(1, 3*second, ether).enhanced(0, 4e9, ether), []int64{3e9, 4e9},
		},
		{
			"raw IP beside Ethernet", little().section().nic(101, 0).nic(1, 0).
				enhanced(0, second, ether[14:]).enhanced(1, 2*second, ether), []int64{1e9, 2e9},
		},
		{"obsolete packet", little().section().nic(1, 0).nic(1, 0, 9, []byte{9}).obsolete(1, 5e9, ether), []int64{5e9}},
		{"simple packet", little().section().nic(1, 0).simple(len(ether), ether), []int64{0}},
		{"above the snap length", little().section().nic(1, 20).enhanced(0, second, ether), []int64{1e9}},
		{"other blocks", little().section().other(5).nic(1, 0).other(0xbad).enhanced(0, second, ether).other(4), []int64{1e9}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			packets, err := readPcapng(t, tt.file.bytes)
			if err != nil {
				t.Fatal(err)
			}
			var times []int64
			for _, p := range packets {
				times = append(times, p.Time)
				if string(p.Payload) != "seven" || p.SrcPort != 7 {
					t.Errorf("want the datagram from port 7, got port %d, payload %q", p.SrcPort, p.Payload)
				}
			}
			if !slices.Equal(times, tt.times) {
				t.Errorf("want times %v, got %v", tt.times, times)
			}
		})
	}
}

func readPcapng(t *testing.T, content []byte) ([]bpf.Packet, error) {
	t.Helper()
	return readToEnd(t, openAll(t, filepath.Join(save(t, map[string][]byte{"x": content}), "x")), 10)
}

// A section may have another byte order, and has its own interfaces.
func TestOpenFilesPcapngSections(t *testing.T) {
	first := little().section().nic(1, 0, 9, []byte{9}).enhanced(0, 1e9, datagram(1, ""))
	second := (&blocks{order: binary.BigEndian}).section().nic(1, 0).enhanced(0, 2e6, datagram(2, ""))
	packets, err := readPcapng(t, append(first.bytes, second.bytes...))
	if err != nil || !slices.Equal(ports(packets), []uint16{1, 2}) || packets[1].Time != 2e9 {
		t.Errorf("want two packets at 1 and 2 s, got %v, error %v", packets, err)
	}
}

// Names of interfaces are known by the number that packets carry, over all files.
func TestInterfaceNames(t *testing.T) {
	named := func(name string) []byte {
		return little().section().nic(1, 0, 2, []byte(name)).enhanced(0, 1e6, datagram(1, "")).bytes
	}
	tests := []struct {
		name  string
		files map[string][]byte
		want  []string // of the packets' interfaces
	}{
		{"two in one file", map[string][]byte{
			"x": little().section().nic(1, 0, 2, []byte("in")).nic(1, 0, 9, []byte{6}, 2, []byte("out")).
				enhanced(1, 1e6, datagram(1, "")).enhanced(0, 2e6, datagram(2, "")).bytes,
		}, []string{"out", "in"}},
		{"none", map[string][]byte{"x": little().section().nic(1, 0).enhanced(0, 1e6, datagram(1, "")).bytes}, []string{""}},
		{"two files", map[string][]byte{"x": named("first"), "y": named("second")}, []string{"first", "second"}},
		{"two sections", map[string][]byte{"x": append(named("before"), named("after")...)}, []string{"before", "after"}},
		{"with its terminator", map[string][]byte{"x": named("eth0\x00")}, []string{"eth0"}},
		{"long", map[string][]byte{"x": named(strings.Repeat("n", 1000))}, []string{strings.Repeat("n", nameMost)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source := openAll(t, save(t, tt.files))
			packets, err := readToEnd(t, source, 10)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range packets {
				got = append(got, source.InterfaceName(p.Interface))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("want %q, got %q", tt.want, got)
			}
		})
	}
}

func TestReadPcapngDamage(t *testing.T) {
	frame := datagram(7, "seven")
	start := func() *blocks { return little().section().nic(1, 0).enhanced(0, 1e6, frame) }
	cut := start().enhanced(0, 2e6, frame).bytes
	length := start().enhanced(0, 2e6, frame)
	length.bytes[len(length.bytes)-4]++
	noInterface := little().section().nic(1, 0).enhanced(0, 1e6, frame).section().enhanced(0, 1e6, frame)
	captured := start()
	captured.block(blockEnhancedPacket, captured.words(0, 0, 0, 0xfffffff0, 9)...)
	order := append(start().bytes, little().section().bytes...)
	copy(order[len(start().bytes)+8:], "xxxx")
	version := append(start().bytes, little().section().bytes...)
	version[len(start().bytes)+12] = 2
	tests := []struct {
		name    string
		content []byte
		want    string
	}{
		{"cut in a block", cut[:len(cut)-1], "cut in the middle of packet 2; 1 packets read"},
		{"cut in a block's header", cut[:len(start().bytes)+7], "cut in the middle of packet 2; 1 packets read"},
		{"lengths differ", length.bytes, "damaged at packet 2 (block length 80, at its end 81); 1 packets read"},
		{"length 0", append(start().bytes, make([]byte, 12)...), "damaged at packet 2 (block length 0); 1 packets read"},
		{"no interface", noInterface.bytes, "damaged at packet 2 (interface 0 is not described); 1 packets read"},
		{"other interface", start().enhanced(7, 0, frame).bytes, "damaged at packet 2 (interface 7 is not described); 1 packets read"},
		{"captured length", captured.bytes, "damaged at packet 2 (captured length 4,294,967,280 in a block of 20 bytes); 1 packets read"},
		{"byte order", order, "damaged at packet 2 (byte order mark 78 78 78 78); 1 packets read"},
		{"version", version, "damaged at packet 2 (version 2 of pcapng, only 1 is known); 1 packets read"},
		{"resolution", start().nic(1, 0, 9, []byte{20}).bytes, "damaged at packet 2 (time resolution of 10 to the power of -20); 1 packets read"},
		{"binary resolution", start().nic(1, 0, 9, []byte{0xff}).bytes, "damaged at packet 2 (time resolution of 2 to the power of -127); 1 packets read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			packets, err := readPcapng(t, tt.content)
			if len(packets) != 1 {
				t.Errorf("want the packet before, got %d", len(packets))
			}
			if err == nil || !strings.HasSuffix(err.Error(), "/x: "+tt.want) {
				t.Errorf("want error %q, got %v", tt.want, err)
			}
		})
	}
}
