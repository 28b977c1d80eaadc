// SPDX-License-Identifier: Apache-2.0

package tracker

// clockOffset is a wall-clock offset that open connections have noted. Together
// they are at most as many as the open connections, and one: a clock that is
// slewed for weeks fills no memory.
type clockOffset struct {
	value int64  // ns
	users uint32 // open connections; one more as long as it is in force
}

// SetClockOffset sets what to add to the packets' clock to get ns since 1970, for
// connections that open from now on.
func (t *Tracker) SetClockOffset(offset int64) {
	if t.offset != 0 {
		if t.offsets.At(t.offset).value == offset {
			return
		}
		t.dropOffset(t.offset)
	}
	var o *clockOffset
	t.offset, o = t.offsets.Get()
	o.value, o.users = offset, 1
}

// noteOffset returns the offset in force, which the caller then uses.
func (t *Tracker) noteOffset() uint32 {
	t.offsets.At(t.offset).users++
	return t.offset
}

// dropOffset is for a user that is gone.
func (t *Tracker) dropOffset(i uint32) {
	o := t.offsets.At(i)
	if o.users--; o.users == 0 {
		t.offsets.Put(i)
	}
}
