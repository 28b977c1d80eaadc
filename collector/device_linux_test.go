// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestDevices lets an interface drop frames before and during the watch: of a protocol
// that the kernel does not speak.
func TestDevices(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	far, frame := newSender(t, "far"), make([]byte, 60)
	frame[12], frame[13] = 0x88, 0xb5 // IEEE 802: for local experiments
	drop := func(n int) {
		for range n {
			far.send(t, frame)
		}
	}
	drop(3)
	devices, err := WatchDevices([]string{"far", "tap"})
	must(t, err)
	drop(5)
	want := []DeviceDrops{{Interface: "far"}, {Interface: "tap", Dropped: 5}}
	if got := devices.Drops(); !slices.Equal(got, want) {
		t.Errorf("want %+v, got %+v", want, got)
	}
	must(t, netlink.LinkDel(linkByName(t, "tap")))
	for range 2 { // known last, then closed
		if got := devices.Drops(); !slices.Equal(got, want) {
			t.Errorf("without the interfaces: want %+v, got %+v", want, got)
		}
		devices.Close()
	}
	if _, err := WatchDevices([]string{"tap"}); err == nil {
		t.Error("want an error for an interface that is gone")
	}
}

func TestDeviceDropsSince(t *testing.T) {
	start := DeviceDrops{"a", 10, 20, 30}
	if got := (DeviceDrops{"a", 11, 22, 3}).since(&start); got != (DeviceDrops{"a", 1, 2, 0}) {
		t.Errorf("want 1, 2 and, after a fresh start, 0, got %+v", got)
	}
}
