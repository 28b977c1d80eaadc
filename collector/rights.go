// SPDX-License-Identifier: Apache-2.0

package collector

// Capability is a Linux capability, by its number in linux/capability.h.
type Capability uint

// The capabilities that capture may take.
const (
	CapNetAdmin Capability = 12 // attach programs to interfaces
	CapNetRaw   Capability = 13 // packet sockets: promiscuous mode and CaptureAFPacket
	CapSysAdmin Capability = 21
	CapPerfmon  Capability = 38 // the verifier takes the arithmetic of pointers in the programs
	CapBPF      Capability = 39 // load programs, create maps
)

var capabilityNames = map[Capability]string{
	CapNetAdmin: "CAP_NET_ADMIN", CapNetRaw: "CAP_NET_RAW", CapSysAdmin: "CAP_SYS_ADMIN",
	CapPerfmon: "CAP_PERFMON", CapBPF: "CAP_BPF",
}

// String is the capability's name, such as CAP_NET_ADMIN.
func (c Capability) String() string { return capabilityNames[c] }
