// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Devices watches what interfaces drop by themselves. Its methods may be called from
// any goroutine.
type Devices struct {
	mu      sync.Mutex
	handle  *netlink.Handle // its socket belongs to the network namespace; nil after Close
	indices []int
	start   []DeviceDrops
	latest  []DeviceDrops // since start
}

// WatchDevices starts on interfaces of the calling thread's network namespace.
func WatchDevices(names []string) (*Devices, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	d := &Devices{handle: handle}
	for _, name := range names {
		device, err := handle.LinkByName(name)
		if err != nil {
			handle.Close()
			return nil, fmt.Errorf("%s: reading the interface's counters: %w", name, err)
		}
		d.indices = append(d.indices, device.Attrs().Index)
		d.start = append(d.start, dropsOf(name, device))
		d.latest = append(d.latest, DeviceDrops{Interface: name})
	}
	return d, nil
}

func dropsOf(name string, device netlink.Link) DeviceDrops {
	drops := DeviceDrops{Interface: name}
	if s := device.Attrs().Statistics; s != nil {
		drops.Dropped, drops.Missed, drops.FIFO = s.RxDropped, s.RxMissedErrors, s.RxFifoErrors
	}
	return drops
}

// Drops is an element per interface, in the order of their names. Of an interface
// that is gone, and after Close, it is what was known last.
func (d *Devices) Drops() []DeviceDrops {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	return append([]DeviceDrops(nil), d.latest...)
}

func (d *Devices) look() {
	if d.handle == nil {
		return
	}
	for i, index := range d.indices {
		if device, err := d.handle.LinkByIndex(index); err == nil {
			d.latest[i] = dropsOf(d.start[i].Interface, device).since(&d.start[i])
		}
	}
}

// Close takes a last look.
func (d *Devices) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	if d.handle != nil {
		d.handle.Close()
		d.handle = nil
	}
}
