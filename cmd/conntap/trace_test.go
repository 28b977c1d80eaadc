// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// trace is a capture to be sent over a wire again, every frame in its full
// length: what the capture cut off is zeros.
type trace struct {
	name   string
	frames [][]byte
	times  []uint64 // microseconds since 1970
}

const (
	ethernetLinkType = 1
	// traceFrames bounds the traces that are sent, longestFrame is what an
	// interface takes.
	traceFrames  = 5000
	longestFrame = 65535 + 14
)

// The reasons for which a trace is not sent.
var (
	errNoCapture   = errors.New("neither pcap nor pcapng")
	errNotEthernet = errors.New("not Ethernet")
	errManyFrames  = fmt.Errorf("more than %d frames", traceFrames)
	errLongFrame   = errors.New("a frame longer than any interface takes")
)

// loadTrace reads a capture with a reader of the test's own.
func loadTrace(path string) (trace, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return trace{}, err
	}
	if unzipped, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
		if data, err = io.ReadAll(unzipped); err != nil {
			return trace{}, err
		}
	}
	t := trace{name: path}
	switch {
	case bytes.HasPrefix(data, []byte{0x0a, 0x0d, 0x0d, 0x0a}):
		err = t.readPcapng(data)
	case bytes.HasPrefix(data, []byte{0xd4, 0xc3, 0xb2, 0xa1}):
		err = t.readPcap(data)
	default:
		err = errNoCapture
	}
	return t, err
}

// readPcap reads what little-endian machines write, up to where it is cut.
func (t *trace) readPcap(data []byte) error {
	if len(data) < 24 || binary.LittleEndian.Uint32(data[20:]) != ethernetLinkType {
		return errNotEthernet
	}
	for data = data[24:]; len(data) >= 16; {
		seconds, micros := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
		captured, wire := binary.LittleEndian.Uint32(data[8:]), binary.LittleEndian.Uint32(data[12:])
		if uint64(len(data)) < 16+uint64(captured) {
			return nil
		}
		if err := t.add(data[16:16+captured], int(wire), uint64(seconds)*1e6+uint64(micros)); err != nil {
			return err
		}
		data = data[16+captured:]
	}
	return nil
}

// readPcapng reads enhanced packet blocks of little-endian sections whose
// interfaces are all Ethernet and count microseconds.
func (t *trace) readPcapng(data []byte) error {
	for len(data) >= 12 {
		kind, length := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
		if length < 12 || uint64(length) > uint64(len(data)) {
			return nil
		}
		body := data[8 : length-4]
		switch {
		case kind == 0x0a0d0d0a && binary.LittleEndian.Uint32(body) != 0x1a2b3c4d:
			return errNoCapture
		case kind == 1 && binary.LittleEndian.Uint16(body) != ethernetLinkType:
			return errNotEthernet
		case kind == 1 && bytes.Contains(body[8:], []byte{9, 0, 1, 0}): // if_tsresol
			at := bytes.Index(body[8:], []byte{9, 0, 1, 0})
			if body[8+at+4] != 6 {
				return errors.New("times not in microseconds")
			}
		case kind == 6:
			micros := uint64(binary.LittleEndian.Uint32(body[4:]))<<32 | uint64(binary.LittleEndian.Uint32(body[8:]))
			captured, wire := binary.LittleEndian.Uint32(body[12:]), binary.LittleEndian.Uint32(body[16:])
			if err := t.add(body[20:20+captured], int(wire), micros); err != nil {
				return err
			}
		}
		data = data[length:]
	}
	return nil
}

func (t *trace) add(captured []byte, wire int, micros uint64) error {
	wire = max(wire, len(captured))
	switch {
	case len(t.frames) == traceFrames:
		return errManyFrames
	case wire > longestFrame:
		return errLongFrame
	case wire < 14: // no interface takes it, and it is no packet
		return nil
	}
	frame := make([]byte, wire)
	copy(frame, captured)
	t.frames, t.times = append(t.frames, frame), append(t.times, micros)
	return nil
}

// pcap is the trace as a capture file.
func (t *trace) pcap() []byte {
	file := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	file = append(file, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	file = binary.LittleEndian.AppendUint32(file, longestFrame)
	file = binary.LittleEndian.AppendUint32(file, ethernetLinkType)
	for i, frame := range t.frames {
		file = binary.LittleEndian.AppendUint32(file, uint32(t.times[i]/1e6))
		file = binary.LittleEndian.AppendUint32(file, uint32(t.times[i]%1e6))
		file = binary.LittleEndian.AppendUint32(file, uint32(len(frame)))
		file = binary.LittleEndian.AppendUint32(file, uint32(len(frame)))
		file = append(file, frame...)
	}
	return file
}
