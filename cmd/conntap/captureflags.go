// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/spf13/pflag"

	"conntap/cmd/conntap/internal/affinity"
	"conntap/collector"
)

// captureFlags say where live packets come from and how; run and top share them.
type captureFlags struct {
	interfaceFlags
	capture, direction, promiscuous choice
	transport                       choice
	ringSize                        byteSize
	cpus                            affinity.CPUs
	verifyChecksums                 bool
	xdpAction                       choice
	force                           bool
}

func (f *captureFlags) register(fs *pflag.FlagSet) {
	f.interfaceFlags.register(fs)
	f.capture = choice{"auto", words(collector.Captures)}
	fs.Var(&f.capture, "capture", "xdp, xdp-generic, tcx, afpacket (without BPF), or auto: XDP where the driver\nhas it, otherwise TCX")
	f.direction = choice{"auto", words(collector.Directions)}
	fs.Var(&f.direction, "direction", "in, out, both, or auto: both on an interface with an address, otherwise in")
	f.promiscuous = choice{"auto", words(collector.PromiscuousChoices)}
	fs.Var(&f.promiscuous, "promiscuous", "take frames for others: on, off, or auto: on without an address")
	f.xdpAction = choice{"pass", words(collector.XDPActions)}
	fs.Var(&f.xdpAction, "xdp-action", "what becomes of packets behind XDP: pass, or drop: for a port that gets copies of\n"+
		"packets; spares the stack's work")
	fs.BoolVar(&f.force, "force", false, "drop even if the interface has an address, or serves a bridge, bond or VLAN")
	f.transport = choice{"auto", words(collector.Transports)}
	fs.Var(&f.transport, "transport", "how records leave the kernel: per-packet, one by one, or batched, many at a\n"+
		"time and in rings of their CPUs; auto: batched where the kernel can (5.19)")
	fs.Var(&f.ringSize, "ring-size", "memory between kernel and conntap, such as 64M (default 16M per CPU)")
	fs.Var(&f.cpus, "cpus", "CPUs for conntap itself, such as 2 or 0-3,8; the first one reads the rings: those\n"+
		"that no queue of the interfaces interrupts (default: the scheduler decides)")
	fs.BoolVar(&f.verifyChecksums, "verify-checksums", false, "verify checksums, at some ns per packet: c in history for bad ones, which\n"+
		"count for nothing else. One that the card has yet to fill in is sound")
	section(fs, "Capture")
}

// words are choices as the command line has them.
func words[T ~string](choices []T) []string {
	words := make([]string, len(choices))
	for i, c := range choices {
		words[i] = string(c)
	}
	return words
}

// check finds what the flags can't mean.
func (f *captureFlags) check() error {
	if err := f.interfaceFlags.check(); err != nil {
		return err
	}
	if err := f.checkDrop(); err != nil {
		return err
	}
	if f.capture.value == string(collector.CaptureAFPacket) && f.transport.value != string(collector.TransportAuto) {
		return fmt.Errorf("--transport %s is about BPF's records: --capture afpacket has none", f.transport.value)
	}
	return nil
}

// checkDrop finds what does not go with dropping, whatever the interface.
func (f *captureFlags) checkDrop() error {
	drop := f.xdpAction.value == string(collector.XDPDrop)
	switch capture := collector.Capture(f.capture.value); {
	case f.force && !drop:
		return errors.New("--force is for --xdp-action drop")
	case drop && capture != collector.CaptureAuto && capture != collector.CaptureXDP && capture != collector.CaptureXDPGeneric:
		return fmt.Errorf("--xdp-action drop takes XDP: with --capture %s the stack gets every packet", capture)
	}
	return nil
}

// live is the source's configuration, as far as these flags say it.
func (f *captureFlags) live() collector.LiveConfig {
	return collector.LiveConfig{
		Interfaces:  f.interfaces,
		All:         f.all,
		Wait:        f.wait,
		Namespace:   f.netns,
		Capture:     collector.Capture(f.capture.value),
		Direction:   collector.Direction(f.direction.value),
		Promiscuous: collector.Promiscuous(f.promiscuous.value),
		Transport:   collector.Transport(f.transport.value),
		RingBytes:   int(f.ringSize),
		ReaderCPUs:  f.cpus[:min(1, len(f.cpus))], VerifyChecksums: f.verifyChecksums,
		XDPAction: collector.XDPAction(f.xdpAction.value), Force: f.force, GiveWay: f.giveWay(),
	}
}

// place keeps the process to the CPUs that were asked for. Where it has none for
// itself, other programs go first.
func (f *captureFlags) place() error {
	if len(f.cpus) == 0 {
		if err := affinity.Yield(); err != nil {
			return fmt.Errorf("letting other programs go first: %w", err)
		}
		return nil
	}
	if err := affinity.Confine(f.cpus); err != nil {
		return fmt.Errorf("--cpus: %w", err)
	}
	runtime.GOMAXPROCS(len(f.cpus))
	return nil
}

// giveWay is what is called again and again where there is much to do, nil for nothing.
func (f *captureFlags) giveWay() func() {
	if len(f.cpus) > 0 {
		return nil
	}
	return affinity.GiveWay
}
