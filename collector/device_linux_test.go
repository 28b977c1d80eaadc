// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestDevices lets an interface drop frames before and during the watch, of a protocol
// that the kernel does not speak; then another one that has its name.
func TestDevices(t *testing.T) {
	enterNamespace(t)
	drop := func(n int) {
		t.Helper()
		far, frame := newSender(t, "far"), make([]byte, 60)
		frame[12], frame[13] = 0x88, 0xb5 // IEEE 802: for local experiments
		for range n {
			far.send(t, frame)
		}
	}
	devices, err := watchDevices()
	must(t, err)
	check := func(want ...DeviceDrops) {
		t.Helper()
		if got := devices.drops(); !slices.Equal(got, want) {
			t.Errorf("want %+v, got %+v", want, got)
		}
	}
	addVeth(t, "tap", "far")
	drop(3)
	devices.add("far", linkByName(t, "far").Attrs().Index)
	devices.add("tap", linkByName(t, "tap").Attrs().Index)
	drop(5)
	check(DeviceDrops{Interface: "far"}, DeviceDrops{Interface: "tap", Dropped: 5})
	must(t, netlink.LinkDel(linkByName(t, "tap")))
	check(DeviceDrops{Interface: "far"}, DeviceDrops{Interface: "tap", Dropped: 5})
	devices.leave("tap")
	addVeth(t, "tap", "far")
	drop(7)
	devices.add("tap", linkByName(t, "tap").Attrs().Index)
	drop(2)
	check(DeviceDrops{Interface: "far"}, DeviceDrops{Interface: "tap", Dropped: 7})
	devices.rename("tap", "other")
	drop(1)
	for range 2 { // known last, then closed
		check(DeviceDrops{Interface: "far"}, DeviceDrops{Interface: "other", Dropped: 8})
		devices.close()
	}
}

func TestDeviceDropsSince(t *testing.T) {
	start := DeviceDrops{"a", 10, 20, 30}
	if got := (DeviceDrops{"a", 11, 22, 3}).since(&start); got != (DeviceDrops{"a", 1, 2, 0}) {
		t.Errorf("want 1, 2 and, after a fresh start, 0, got %+v", got)
	}
}
