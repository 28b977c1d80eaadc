// SPDX-License-Identifier: Apache-2.0

package collector

import "fmt"

// Report says whether packets can be captured on an interface, and how.
type Report struct {
	// OK says whether they can; if not, Problem says why and what to do.
	OK      bool   `json:"ok"`
	Problem string `json:"problem,omitempty"`
	// AFPacket says whether they can with CaptureAFPacket, which does without BPF.
	AFPacket bool `json:"afpacket"`

	Kernel    KernelReport    `json:"kernel"`
	Rights    RightsReport    `json:"rights"`
	Interface InterfaceReport `json:"interface"`
	Ring      RingReport      `json:"ring"`
	Clock     ClockReport     `json:"clock"`
	Process   ProcessReport   `json:"process"`
}

// ProcessReport says whether LiveConfig.Owners would work; if not, Problem says why.
type ProcessReport struct {
	OK      bool   `json:"ok"`
	Problem string `json:"problem,omitempty"`
}

// KernelReport says what the kernel has.
type KernelReport struct {
	Release string `json:"release"`
	// BTF is needed for LiveConfig.Owners alone.
	BTF bool `json:"btf"`
	// JIT is "ok", "off" or "unknown". Without it programs are slow.
	JIT string `json:"jit"`
	// Lockdown is "none", "integrity" or "confidentiality". Capture works in all.
	Lockdown string `json:"lockdown"`
	// TCX is from kernel 6.6 on; clsact stands in below.
	TCX bool `json:"tcx"`
}

// RightsReport says which of the capabilities needed the process has.
type RightsReport struct {
	Root    bool     `json:"root"`
	Needed  []string `json:"needed"`
	Missing []string `json:"missing"`
}

// InterfaceReport says what capture on the interface would be.
type InterfaceReport struct {
	Interface
	// Ingress and Egress are the hooks it would get, as in Attachment.
	Ingress     string `json:"ingress"`
	Egress      string `json:"egress"`
	Promiscuous bool   `json:"promiscuous"`
	// Certain is false where only attaching would tell whether the driver has
	// native XDP: kernels before 6.3 don't say. If not, TCX is used.
	Certain bool `json:"certain"`
	// Programs are those of others on the hooks of the interface.
	Programs []Holder `json:"programs"`
	// Findings are settings that change what capture sees.
	Findings []Finding `json:"findings"`
}

// Holder is a BPF program that sits on a hook, and who put it there.
type Holder struct {
	Hook    string `json:"hook"` // "XDP", "TCX ingress", "clsact egress", ...
	Program uint32 `json:"program"`
	Name    string `json:"name,omitempty"`
	// PID is a process that has the program or its link open; 0 if none was
	// found: the attachment then outlives processes.
	PID int `json:"pid,omitempty"`
}

// String is the holder in the words of messages.
func (h Holder) String() string {
	text := fmt.Sprintf("id %d", h.Program)
	if h.Name != "" {
		text += fmt.Sprintf(", %q", h.Name)
	}
	if h.PID != 0 {
		text += fmt.Sprintf(", by pid %d", h.PID)
	}
	return text
}

// Finding is a setting that changes what capture sees.
type Finding struct {
	Setting string `json:"setting"`           // such as "lro on"
	Effect  string `json:"effect"`            // what it does
	Command string `json:"command,omitempty"` // what mends it
}

// RingReport says what memory the ring takes, bytes.
type RingReport struct {
	CPUs        int    `json:"cpus"`
	Bytes       uint64 `json:"bytes"`
	Memory      uint64 `json:"memory"`       // of the machine
	MemoryLimit uint64 `json:"memory_limit"` // of the process's control group; 0: none
}

// ClockReport says what time stamps are made of.
type ClockReport struct {
	Source string `json:"source"` // the kernel's clocksource
	// Synchronised says whether the kernel believes the wall clock to be right.
	Synchronised bool `json:"synchronised"`
}
