// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// Batch reads the packets of one ring sample. Its zero value holds none. One
// Batch serves any number of samples, one after the other; it belongs to one
// goroutine.
//
//	for err := batch.Reset(sample); err == nil && batch.Next(&packet); {
//		...
//	}
//	err = batch.Err()
type Batch struct {
	// Header is that of the sample: for the account of what was lost before it.
	Header BatchHeader

	rest    []byte // records not yet read
	ordinal uint64 // of the next frame
	err     error
}

// Parts of a batch, bytes.
const (
	batchHeaderSize = int(unsafe.Sizeof(BatchHeader{}))
	recordHeadSize  = int(unsafe.Sizeof(RecordHead{}))
	recordIPv4Size  = int(unsafe.Sizeof(RecordIPv4{}))
	recordIPv6Size  = int(unsafe.Sizeof(RecordIPv6{}))
	payloadHeadSize = 2 // struct block_payload without its bytes
	recordSizeMin   = recordHeadSize + recordIPv4Size
	ordinalBits     = 48 // of Packet.Ordinal, for the record's sequence number
	blocksKnown     = BlockL2 | BlockFragment | BlockGSO | BlockIdentity | BlockTunnel | BlockOwner | BlockPayload
)

// Reset starts on a sample, which must stand on an 8-byte boundary, as ring
// samples do. Their payloads make the packets part of it. An error means that the
// sample is none of this version's; Next then gives nothing.
//
// Packet.Ordinal counts on from [BatchHeader].Sequence, the frames before this one;
// all packets of a frame have the same.
func (b *Batch) Reset(sample []byte) error {
	b.rest, b.err = nil, nil
	if len(sample) < batchHeaderSize {
		b.err = fmt.Errorf("ring sample of %d bytes, want at least %d", len(sample), batchHeaderSize)
		return b.err
	}
	b.Header = *(*BatchHeader)(unsafe.Pointer(unsafe.SliceData(sample)))
	return b.check(sample)
}

func (b *Batch) check(sample []byte) error {
	h := &b.Header
	switch {
	case h.Version != WireVersion:
		b.err = fmt.Errorf("ring sample of wire version %d, want %d", h.Version, WireVersion)
	case h.Hook >= HookCount:
		b.err = fmt.Errorf("ring sample of hook %d, want less than %d", h.Hook, HookCount)
	case int64(h.Length) < int64(batchHeaderSize) || int64(h.Length) > int64(len(sample)):
		b.err = fmt.Errorf("batch of %d bytes in a ring sample of %d", h.Length, len(sample))
	default:
		b.rest = sample[batchHeaderSize:h.Length]
		b.ordinal = (uint64(h.CPU)*HookCount+uint64(h.Hook))<<ordinalBits + h.Sequence&(1<<ordinalBits-1) - 1
	}
	return b.err
}

// Next stores the next packet in p, all of it, and tells whether there was one.
// What it points to is part of the sample.
// After false, [Batch.Err] says whether the batch was at its end or broken.
func (b *Batch) Next(p *Packet) bool {
	if len(b.rest) < recordSizeMin {
		return b.end()
	}
	h := (*RecordHead)(unsafe.Pointer(unsafe.SliceData(b.rest)))
	size := int(h.Words) * 8
	if size < recordSizeMin || size > len(b.rest) || h.Kind-KindPacket > KindEmpty-KindPacket {
		return b.fail(h)
	}
	body := b.rest[recordHeadSize:size]
	if h.State&StateIPv6 == 0 {
		a := (*RecordIPv4)(unsafe.Pointer(unsafe.SliceData(body)))
		mapIPv4(&p.Src, a.Src[:])
		mapIPv4(&p.Dst, a.Dst[:])
		body = body[recordIPv4Size:]
	} else {
		if len(body) < recordIPv6Size {
			return b.fail(h)
		}
		a := (*RecordIPv6)(unsafe.Pointer(unsafe.SliceData(body)))
		p.Src, p.Dst = a.Src, a.Dst
		body = body[recordIPv6Size:]
	}
	if h.Kind == KindPacket {
		b.ordinal++
	}
	b.head(h, p)
	if !p.decodeBlocks(h.Blocks, body) {
		return b.fail(h)
	}
	b.rest = b.rest[size:]
	return true
}

// NextTime is the time of the next packet, without decoding it, and false if there
// is none.
func (b *Batch) NextTime() (int64, bool) {
	if len(b.rest) < recordSizeMin {
		return 0, false
	}
	return int64(b.Header.BaseNs + uint64((*RecordHead)(unsafe.Pointer(unsafe.SliceData(b.rest))).DtNs)), true
}

// InFrame tells whether the next packet is of the same frame as the last one.
func (b *Batch) InFrame() bool {
	return len(b.rest) >= recordSizeMin && (*RecordHead)(unsafe.Pointer(unsafe.SliceData(b.rest))).Kind != KindPacket
}

// Err is what was wrong with the sample, nil if nothing was.
func (b *Batch) Err() error {
	if len(b.rest) != 0 && len(b.rest) < recordSizeMin {
		b.end()
	}
	return b.err
}

// end is for a rest too short for a record.
func (b *Batch) end() bool {
	if len(b.rest) != 0 {
		b.err = fmt.Errorf("%d bytes after the last record of a batch", len(b.rest))
	}
	b.rest = nil
	return false
}

// fail is for a record whose parts don't fit into it.
func (b *Batch) fail(h *RecordHead) bool {
	b.err = fmt.Errorf("record of kind %d, %d words, blocks %#x, state %#x in %d bytes",
		h.Kind, h.Words, uint8(h.Blocks), uint8(h.State), len(b.rest))
	b.rest = nil
	return false
}

func (b *Batch) head(h *RecordHead, p *Packet) {
	p.Time = int64(b.Header.BaseNs + uint64(h.DtNs))
	p.Ordinal = b.ordinal
	p.IPLength = h.IPLength
	p.HeaderLength = h.HeaderLength
	p.SrcPort = binary.BigEndian.Uint16(h.SrcPort[:])
	p.DstPort = binary.BigEndian.Uint16(h.DstPort[:])
	p.Window = h.Window
	p.Seq, p.Ack = h.Seq, h.Ack
	p.Protocol = h.Protocol
	p.Flags = h.TCPFlags
	p.State = h.State
	p.Kind = h.Kind
	p.Blocks = h.Blocks &^ BlockPayload
	p.Hook = b.Header.Hook
	p.Interface = h.Interface
}

// decodeBlocks reads the blocks, which must take up all of body. What they don't
// say is zero.
func (p *Packet) decodeBlocks(blocks Block, body []byte) bool {
	p.Payload, p.Owner = nil, nil
	if blocks&BlockL2 != 0 {
		if len(body) < int(unsafe.Sizeof(L2{})) {
			return false
		}
		l2 := (*L2)(unsafe.Pointer(unsafe.SliceData(body)))
		p.DstMAC, p.SrcMAC = l2.Dst, l2.Src
		p.VLAN, p.InnerVLAN = l2.VLAN, l2.InnerVLAN
		body = body[unsafe.Sizeof(L2{}):]
	} else {
		p.DstMAC, p.SrcMAC = MAC{}, MAC{}
		p.VLAN, p.InnerVLAN = 0, 0
	}
	p.GSOSize, p.GSOSegments = 0, 0
	p.FragmentID, p.FragmentOffset, p.FragmentMore, p.FragmentSum = 0, 0, false, 0
	p.IPID = 0
	p.TunnelID, p.TunnelType, p.TunnelDepth = 0, TunnelNone, 0
	if blocks&^BlockL2 != 0 {
		return p.decodeRareBlocks(blocks&^BlockL2, body)
	}
	return len(body) == 0
}

// decodeRareBlocks reads the blocks after that of the link layer.
func (p *Packet) decodeRareBlocks(blocks Block, body []byte) bool {
	if blocks&BlockFragment != 0 {
		if len(body) < int(unsafe.Sizeof(Fragment{})) {
			return false
		}
		fragment := (*Fragment)(unsafe.Pointer(unsafe.SliceData(body)))
		p.FragmentID, p.FragmentOffset, p.FragmentMore = fragment.ID, fragment.Offset, fragment.More != 0
		p.FragmentSum = uint16(fragment.PartialSum)
		body = body[unsafe.Sizeof(Fragment{}):]
	}
	if blocks&BlockGSO != 0 {
		if len(body) < int(unsafe.Sizeof(GSO{})) {
			return false
		}
		gso := (*GSO)(unsafe.Pointer(unsafe.SliceData(body)))
		p.GSOSize, p.GSOSegments = gso.Size, gso.Segments
		body = body[unsafe.Sizeof(GSO{}):]
	}
	if blocks&BlockIdentity != 0 {
		if len(body) < int(unsafe.Sizeof(Identity{})) {
			return false
		}
		p.IPID = (*Identity)(unsafe.Pointer(unsafe.SliceData(body))).IPID
		body = body[unsafe.Sizeof(Identity{}):]
	}
	return p.decodeLastBlocks(blocks, body)
}

// decodeLastBlocks reads tunnel, owner and payload.
func (p *Packet) decodeLastBlocks(blocks Block, body []byte) bool {
	if blocks&BlockTunnel != 0 {
		if len(body) < int(unsafe.Sizeof(Tunnel{})) {
			return false
		}
		tunnel := (*Tunnel)(unsafe.Pointer(unsafe.SliceData(body)))
		p.TunnelID, p.TunnelType, p.TunnelDepth = tunnel.ID, tunnel.Type, tunnel.Depth
		body = body[unsafe.Sizeof(Tunnel{}):]
	}
	if blocks&BlockOwner != 0 {
		if len(body) < int(unsafe.Sizeof(Owner{})) {
			return false
		}
		p.Owner = (*Owner)(unsafe.Pointer(unsafe.SliceData(body)))
		body = body[unsafe.Sizeof(Owner{}):]
	}
	if blocks&^blocksKnown != 0 {
		return false
	}
	if blocks&BlockPayload == 0 {
		return len(body) == 0
	}
	if len(body) < payloadHeadSize {
		return false
	}
	end := payloadHeadSize + int(binary.NativeEndian.Uint16(body))
	if len(body) != (end+7)&^7 {
		return false
	}
	p.Payload = body[payloadHeadSize:end:end]
	return true
}
