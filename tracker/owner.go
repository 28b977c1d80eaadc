// SPDX-License-Identifier: Apache-2.0

package tracker

import "conntap/bpf"

// own makes a process the owner of a connection, unless that has one: both sides may
// be processes of this machine, and the first one known stays.
func (t *Tracker) own(c connection, owner *bpf.Owner) {
	if !t.config.Owners {
		return
	}
	x := t.extra.At(c.extra)
	if x.owner != 0 {
		return
	}
	i, kept := t.owners.Take()
	x.owner, *kept = i, *owner
}

// disown frees what own has kept.
func (t *Tracker) disown(c connection) {
	if x := t.extra.At(c.extra); x.owner != 0 {
		t.owners.Put(x.owner)
	}
}
