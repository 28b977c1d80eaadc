// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelVersion is a kernel's version, comparable by before.
type kernelVersion struct{ major, minor int }

func (v kernelVersion) before(w kernelVersion) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}

var (
	// oldestKernel has bpf_ringbuf, bpf_ktime_get_boot_ns and bpf_link for XDP, and
	// is tried now and then.
	oldestKernel = kernelVersion{5, 15}
	// xdpFragsKernel takes XDP programs for frames in several buffers.
	xdpFragsKernel = kernelVersion{5, 18}
	// tcxKernel has TCX; below it clsact stands in.
	tcxKernel = kernelVersion{6, 6}
)

// runningKernel is the running kernel's version, also as it calls itself.
func runningKernel() (kernelVersion, string, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return kernelVersion{}, "", fmt.Errorf("asking for the kernel's version: %w", err)
	}
	release := unix.ByteSliceToString(name.Release[:])
	v, err := parseKernelVersion(release)
	return v, release, err
}

func parseKernelVersion(release string) (v kernelVersion, err error) {
	if _, err := fmt.Sscanf(release, "%d.%d", &v.major, &v.minor); err != nil {
		return v, fmt.Errorf("kernel release %q: no version in it", release)
	}
	return v, nil
}

// What stands in the way of BPF.
var (
	errOldKernel = errors.New("too old for live capture")
	errNoRights  = errors.New("live capture needs")
)

// checkKernel says in one sentence why the kernel called release is too old.
func checkKernel(v kernelVersion, release string) error {
	if v.before(oldestKernel) {
		return fmt.Errorf("kernel %s is %w: Linux 6.1 or newer is needed (5.15 best effort); reading files works",
			release, errOldKernel)
	}
	return nil
}

// capabilitySet is the effective set of a process, a bit per capability.
type capabilitySet uint64

// has tells whether c may be used; CAP_SYS_ADMIN stands for the BPF ones, as in
// the kernel's bpf_capable and perfmon_capable.
func (s capabilitySet) has(c Capability) bool {
	if s&(1<<c) != 0 {
		return true
	}
	return (c == CapBPF || c == CapPerfmon) && s&(1<<CapSysAdmin) != 0
}

// effectiveCapabilities are those of the calling thread.
func effectiveCapabilities() (capabilitySet, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("asking for the process's capabilities: %w", err)
	}
	return capabilitySet(data[0].Effective) | capabilitySet(data[1].Effective)<<32, nil
}

// neededCapabilities are what live capture takes; a packet socket takes CAP_NET_RAW:
// alone to capture by it, on top for promiscuous mode.
func neededCapabilities(capture Capture, promiscuous bool) []Capability {
	if capture == CaptureAFPacket {
		return []Capability{CapNetRaw}
	}
	needed := []Capability{CapBPF, CapNetAdmin, CapPerfmon}
	if promiscuous {
		needed = append(needed, CapNetRaw)
	}
	return needed
}

// missing are those of needed that are not in s.
func (s capabilitySet) missing(needed []Capability) []Capability {
	var missing []Capability
	for _, c := range needed {
		if !s.has(c) {
			missing = append(missing, c)
		}
	}
	return missing
}

// rightsError says which rights are missing and what to do, nil if none.
func rightsError(missing, needed []Capability) error {
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w %s; not held: %s. %s",
		errNoRights, join(needed, ", "), join(missing, ", "), remedy(needed))
}

// remedy says how to get capabilities.
func remedy(needed []Capability) string {
	program, err := os.Executable()
	if err != nil {
		program = "conntap"
	}
	remedy := fmt.Sprintf("Run it with sudo, or once: sudo setcap %s+ep %s", strings.ToLower(join(needed, ",")), program)
	if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && set == 1 {
		remedy += " (no_new_privs is set, which makes both void: a service has AmbientCapabilities= instead)"
	}
	return remedy
}

func join(list []Capability, separator string) string {
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = c.String()
	}
	return strings.Join(names, separator)
}
