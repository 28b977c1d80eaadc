// SPDX-License-Identifier: Apache-2.0

package collector

import "sync"

// nameTable says what bpf.Packet.Interface stands for. A name stays when its
// interface is gone: connections that it began are still open. It may be asked and
// set from any goroutine.
type nameTable struct {
	mutex sync.RWMutex
	names []string
}

// set gives a number its name.
func (n *nameTable) set(number uint16, name string) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for len(n.names) <= int(number) {
		n.names = append(n.names, "")
	}
	n.names[number] = name
}

// InterfaceName is the name of the interface that packets with this
// bpf.Packet.Interface came from, "" if there is none. It may be called from any
// goroutine.
func (n *nameTable) InterfaceName(number uint16) string {
	n.mutex.RLock()
	defer n.mutex.RUnlock()
	if int(number) < len(n.names) {
		return n.names[number]
	}
	return ""
}
