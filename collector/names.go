// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"slices"
	"sync/atomic"
)

// nameTable says what bpf.Packet.Interface stands for. A name stays when its
// interface is gone: connections that it began are still open. One goroutine sets,
// any may ask.
type nameTable struct{ names atomic.Pointer[[]string] }

// set gives a number its name.
func (n *nameTable) set(number uint16, name string) {
	var names []string
	if before := n.names.Load(); before != nil {
		names = slices.Clone(*before)
	}
	for len(names) <= int(number) {
		names = append(names, "")
	}
	names[number] = name
	n.names.Store(&names)
}

// InterfaceName is the name of the interface that packets with this
// bpf.Packet.Interface came from, "" if there is none. It may be called from any
// goroutine.
func (n *nameTable) InterfaceName(number uint16) string {
	if names := n.names.Load(); names != nil && int(number) < len(*names) {
		return (*names)[number]
	}
	return ""
}
