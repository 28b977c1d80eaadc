// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"conntap/bpf"
)

const (
	// openSlots are for interfaces that nobody has named, at least; and slotsMost at
	// most. A slot takes 648 bytes on each CPU.
	openSlots = 256
	slotsMost = 4096
	// slotRest is how long a slot rests when its interface is gone: longer than any
	// record of it is under way in the kernel.
	slotRest = 10 * time.Second
	// nameGone stands for all interfaces whose slot has been given to another one. No
	// interface is called so, for the blanks.
	nameGone = "(gone ones)"
)

var errNoSlot = errors.New("no slot left")

// nic is an interface that is captured, or was. The watcher alone changes it, under
// nics.mu, so that it may read without.
type nic struct {
	number     uint16 // bpf.Packet.Interface
	name       string
	index      int  // the kernel's ifindex; 0: it is not captured
	up, wasUp  bool // it has a link, or had one since it was attached
	plan       plan
	attachment Attachment
	since      time.Time // when it went
}

// fits tells whether an interface may go on where the one before it ended: if their
// frames begin with the same header, or if there was none.
func (n *nic) fits(i *Interface) bool {
	before := &n.attachment.Interface
	return before.Index == 0 || before.hasBareIP() == i.hasBareIP()
}

// nics are the interfaces of a capture. An interface keeps its number when it goes and
// comes back. Another one's may get its slot then, but not its number before all are
// used up, so that connections that are still open keep the name.
type nics struct {
	nameTable
	slots int // a power of two: a number modulo this is the slot

	mu    sync.Mutex
	list  []*nic // by slot
	count InterfaceCount
}

// slotsFor is how many slots to make for that many interfaces.
func slotsFor(present int, open bool) int {
	if open {
		present = max(2*present, openSlots)
	}
	slots := 1
	for slots < present && slots < slotsMost {
		slots *= 2
	}
	return slots
}

func (t *nics) slot(n *nic) int { return int(n.number) & (t.slots - 1) }

// called is the interface that has, or had, a name.
func (t *nics) called(name string) *nic {
	var found *nic
	for _, n := range t.list {
		if n.name == name && (found == nil || n.index != 0) {
			found = n
		}
	}
	return found
}

// captured is the interface with an ifindex, nil if it is not captured.
func (t *nics) captured(index int) *nic {
	for _, n := range t.list {
		if n.index == index {
			return n
		}
	}
	return nil
}

// place finds a slot for an interface: the one that it had, one that is free, or that of
// the one that has been gone the longest, of which forget then is told. Those in keep
// are waited for.
func (t *nics) place(i *Interface, keep []string, now time.Time, forget func(*nic)) (*nic, error) {
	if n := t.called(i.Name); n != nil && n.index == 0 && n.fits(i) {
		return n, nil
	}
	n := &nic{name: i.Name}
	if len(t.list) < t.slots {
		n.number = uint16(len(t.list))
		t.mu.Lock()
		defer t.mu.Unlock()
		t.list = append(t.list, n)
		return n, nil
	}
	var oldest *nic
	for _, other := range t.list {
		if other.index == 0 && now.Sub(other.since) >= slotRest && !slices.Contains(keep, other.name) &&
			(oldest == nil || other.since.Before(oldest.since)) {
			oldest = other
		}
	}
	if oldest == nil {
		return nil, errNoSlot
	}
	forget(oldest)
	n.number = oldest.number + uint16(t.slots)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list[t.slot(oldest)] = n
	return n, nil
}

// attachments are of all that is captured now.
func (t *nics) attachments() []Attachment {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Attachment
	for _, n := range t.list {
		if n.index != 0 {
			all = append(all, n.attachment)
		}
	}
	return all
}

// counts says how many interfaces there are, and were.
func (t *nics) counts() InterfaceCount {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

// sumByName brings together the rows of interfaces that had one name after another, in
// the order in which the names come first.
func sumByName(rows []HookStats) []HookStats {
	type place struct {
		name string
		hook bpf.Hook
		cpu  int
	}
	order, at := map[string]int{}, map[place]int{}
	var sums []HookStats
	for i := range rows {
		row := &rows[i]
		if _, known := order[row.Interface]; !known {
			order[row.Interface] = len(order)
		}
		key := place{row.Interface, row.Hook, row.CPU}
		if k, known := at[key]; known {
			addCounters(&sums[k].Counters, &row.Counters)
			continue
		}
		at[key] = len(sums)
		sums = append(sums, *row)
	}
	slices.SortStableFunc(sums, func(a, b HookStats) int { return order[a.Interface] - order[b.Interface] })
	return sums
}

// ofGone are rows of an interface whose slot is given away, as they then are counted.
func ofGone(rows []HookStats) []HookStats {
	for i := range rows {
		rows[i].Interface = nameGone
	}
	return rows
}

// sideBySide runs f for 0 to n-1, some at a time: the kernel takes some 10 ms for whatever
// ends on an interface, but hardly more for several that do at once.
func sideBySide(n int, f func(int) error) error {
	const most = 32 // threads
	errs, next := make([]error, n), atomic.Int64{}
	var workers sync.WaitGroup
	for range min(n, most) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				errs[i] = f(int(i))
			}
		})
	}
	workers.Wait()
	return errors.Join(errs...)
}
