// SPDX-License-Identifier: Apache-2.0

// Package collector is where packets come from, in time order: the kernel's
// rings or capture files.
package collector

import "conntap/bpf"

// Source yields packets. Live packets come in the order in which the ring took
// them; those of files in the order of the merged files, whose times may step
// back. A Source is for one goroutine, but Stats may be called from any.
type Source interface {
	// Read stores up to len(dst) packets in dst and says how many. Their
	// payloads are valid until the Read after the next one, so that one batch can
	// be worked on while the next is read. A file's frame without a packet comes as
	// bpf.KindNone. A live source returns 0 and no
	// error when nothing came for a while, so that the caller can let time move
	// on to Now. io.EOF comes alone, after the last packet; any other error may
	// come together with packets, which are valid.
	Read(dst []bpf.Packet) (int, error)
	// Now is the source's steady clock in ns, on the scale of Packet.Time: every
	// packet stamped before it has been read. For files it is the latest time
	// read.
	Now() int64
	// ClockOffset is what to add to the steady clock to get ns since 1970: 0 for
	// files. It moves when the wall clock is stepped.
	ClockOffset() int64
	// Stats adds up what happened to the frames so far.
	Stats() Stats
	// Close releases the source. Of a live source it first detaches; Read then
	// returns what the ring still holds, and io.EOF.
	Close() error
}

// Stats is an account of frames; it balances:
// Seen = Recorded + Filtered + Lost + all of Skipped.
type Stats struct {
	bpf.Counters
	// Packets is how many outermost packets Read returned: a super-packet counts
	// as its segments, an aggregate as its parts, so it may be above Recorded.
	Packets uint64
	// Late is how many outermost packets Read returned behind packets with later
	// time stamps, of another CPU or hook: because they came later than all that
	// could be waited for. Live only.
	Late uint64
	// Bytes is how many frame bytes, as on the wire, Recorded stands for. Files
	// only.
	Bytes uint64
}

// countOutermost counts the packets that are in no tunnel.
func countOutermost(packets []bpf.Packet) (n uint64) {
	for i := range packets {
		if packets[i].Kind == bpf.KindPacket {
			n += uint64(packets[i].Segments())
		}
	}
	return n
}
