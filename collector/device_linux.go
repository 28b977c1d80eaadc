// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// deviceWatch watches what interfaces drop by themselves. Its methods may be called from
// any goroutine.
type deviceWatch struct {
	mu     sync.Mutex
	handle *netlink.Handle // its socket belongs to the network namespace; nil after close
	rows   []deviceRow     // by name
}

// deviceRow is what is known of the interfaces that had a name one after another.
type deviceRow struct {
	index  int         // of the one that has it now, 0 if there is none
	start  DeviceDrops // of that one, when it was captured first
	before DeviceDrops // of those before it, and of it before a look
	latest DeviceDrops // of it since start
}

// watchDevices watches interfaces of the calling thread's network namespace.
func watchDevices() (*deviceWatch, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	return &deviceWatch{handle: handle}, nil
}

func dropsOf(device netlink.Link) DeviceDrops {
	var drops DeviceDrops
	if s := device.Attrs().Statistics; s != nil {
		drops.Dropped, drops.Missed, drops.FIFO = s.RxDropped, s.RxMissedErrors, s.RxFifoErrors
	}
	return drops
}

// add begins with an interface.
func (w *deviceWatch) add(name string, index int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	row := w.row(name)
	row.settle()
	if w.handle == nil {
		return
	}
	if device, err := w.handle.LinkByIndex(index); err == nil {
		row.index, row.start = index, dropsOf(device)
	}
}

// row is that of a name, made on first use.
func (w *deviceWatch) row(name string) *deviceRow {
	i := slices.IndexFunc(w.rows, func(r deviceRow) bool { return r.before.Interface == name })
	if i < 0 {
		w.rows = append(w.rows, deviceRow{before: DeviceDrops{Interface: name}})
		i = len(w.rows) - 1
	}
	return &w.rows[i]
}

// settle is done with the interface that has the name.
func (r *deviceRow) settle() {
	r.before.add(&r.latest)
	r.index, r.latest = 0, DeviceDrops{}
}

// leave takes a last look at an interface, which may be gone.
func (w *deviceWatch) leave(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	row := w.row(name)
	w.look(row)
	row.settle()
}

// rename has what was known by a name known by another.
func (w *deviceWatch) rename(from, to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := *w.row(from)
	w.rows = slices.DeleteFunc(w.rows, func(r deviceRow) bool { return r.before.Interface == from })
	row := w.row(to)
	row.settle()
	row.before.add(&old.before)
	if old.index != 0 {
		row.index, row.start, row.latest = old.index, old.start, old.latest
	}
}

// drops is an element per name. Of an interface that is gone, and after close, it is
// what was known last.
func (w *deviceWatch) drops() []DeviceDrops {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []DeviceDrops
	for i := range w.rows {
		row := &w.rows[i]
		w.look(row)
		sum := row.before
		sum.add(&row.latest)
		all = append(all, sum)
	}
	return all
}

func (w *deviceWatch) look(row *deviceRow) {
	if w.handle == nil || row.index == 0 {
		return
	}
	if device, err := w.handle.LinkByIndex(row.index); err == nil {
		row.latest = dropsOf(device).since(&row.start)
	}
}

// close takes a last look.
func (w *deviceWatch) close() {
	w.drops()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.handle != nil {
		w.handle.Close()
		w.handle = nil
	}
}
