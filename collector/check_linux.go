// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"conntap/bpf"
	"conntap/collector/host"
)

// Check says whether packets can be captured on the interface called name with
// the default choices, and how. It attaches nothing, but loads the programs. The
// interface is in a network namespace as of LiveConfig.Namespace. The error is
// about an interface that is not there, or about facts that cannot be had; what
// stands in the way of capture is in the report.
func Check(namespace, name string) (r *Report, err error) {
	err = runInNamed(namespace, func() error {
		r, err = check(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	if namespace != "" {
		for i := range r.Interface.Findings {
			r.Interface.Findings[i].mendIn(namespace)
		}
	}
	return r, nil
}

// mendIn makes the command one that mends what is in a network namespace.
func (f *Finding) mendIn(namespace string) {
	if f.Command != "" {
		f.Command = "nsenter --net=" + namespacePath(namespace) + " " + f.Command
	}
}

// check is Check on the calling thread.
func check(name string) (*Report, error) {
	i, err := findInterface(name)
	if err != nil {
		return nil, err
	}
	kernel, release, err := runningKernel()
	if err != nil {
		return nil, err
	}
	held, err := effectiveCapabilities()
	if err != nil {
		return nil, err
	}
	r := &Report{Kernel: kernelReport(kernel, release), Clock: clockReport(), Interface: InterfaceReport{Interface: *i, Programs: []Holder{}, Findings: []Finding{}}}
	if r.Ring, err = ringReport(); err != nil {
		return nil, err
	}
	p, planErr := planCapture(i, CaptureAuto, DirectionAuto, PromiscuousAuto)
	needed := neededCapabilities(CaptureAuto, p.promiscuous)
	missing := held.missing(needed)
	r.Rights = RightsReport{Root: os.Geteuid() == 0, Needed: names(needed), Missing: names(missing)}

	problem := errors.Join(checkKernel(kernel, release), planErr, rightsError(missing, needed))
	if planErr == nil {
		r.Interface.expect(p, r.Kernel.TCX)
		r.Interface.inspect(missing)
	}
	if problem == nil {
		problem = tryCapture(kernel, r.Interface.plan(p), &r.Interface)
	}
	r.OK, r.Problem = problem == nil, firstLine(problem)
	if r.OK {
		r.Process = tryOwners(r.Interface.Egress != "")
	}
	r.AFPacket = planErr == nil && len(held.missing(neededCapabilities(CaptureAFPacket, false))) == 0 && tryPackets() == nil
	return r, nil
}

// names are the capabilities' names.
func names(list []Capability) []string {
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = c.String()
	}
	return names
}

// firstLine is the first of several errors.
func firstLine(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func kernelReport(kernel kernelVersion, release string) KernelReport {
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	return KernelReport{
		Release: release, BTF: err == nil, JIT: jitState(), Lockdown: lockdownState(), TCX: !kernel.before(tcxKernel),
	}
}

// jitState loads a program to see whether it is compiled: the kernel's setting
// can't be read from within a network namespace.
func jitState() string {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return "unknown"
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil {
		return "unknown"
	}
	if size, err := info.JitedSize(); err != nil || size == 0 {
		return "off"
	}
	return "ok"
}

// lockdownState takes the chosen one of "none [integrity] confidentiality"; a
// kernel without the file has no lockdown.
func lockdownState() string {
	_, chosen, found := strings.Cut(readWord("/sys/kernel/security/lockdown"), "[")
	if !found {
		return "none"
	}
	chosen, _, _ = strings.Cut(chosen, "]")
	return chosen
}

// readWord is a small file's text without the line's end, "" if it can't be read.
func readWord(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func clockReport() ClockReport {
	var state unix.Timex
	_, err := unix.Adjtimex(&state) // asks, sets nothing
	return ClockReport{
		Source:       readWord("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
		Synchronised: err == nil && state.Status&unix.STA_UNSYNC == 0,
	}
}

func ringReport() (RingReport, error) {
	cpus, bytes, err := RingBytes(0)
	if err != nil {
		return RingReport{}, err
	}
	return RingReport{
		CPUs: cpus, Bytes: uint64(bytes), Memory: host.Memory(), MemoryLimit: host.OwnGroup().MemoryLimit(),
	}, nil
}

// expect writes down what the plan would come to.
func (r *InterfaceReport) expect(p plan, tcx bool) {
	tc := modeClsact
	if tcx {
		tc = modeTCX
	}
	r.Certain, r.Promiscuous = true, p.promiscuous
	if p.egress {
		r.Egress = tc
	}
	switch p.ingress {
	case ingressTCX:
		r.Ingress = tc
	case ingressXDP:
		features, known := xdpFeatures(r.Index)
		r.Ingress, r.Certain = modeXDP, known
		if known && features&xdpBasic == 0 {
			r.Ingress = tc
		}
		if known && features&xdpFragments == 0 && r.Ingress == modeXDP && r.MTU > nativeXDPMTU {
			r.Findings = append(r.Findings, Finding{
				fmt.Sprintf("mtu %d", r.MTU), "may be too large for native XDP, TCX is used then",
				fmt.Sprintf("ip link set %s mtu %d", r.Name, nativeXDPMTU),
			})
		}
	}
}

// plan is p with what is known of the driver by now.
func (r *InterfaceReport) plan(p plan) plan {
	if p.ingress == ingressXDP && r.Ingress != modeXDP {
		p.ingress = ingressTCX
	}
	return p
}

// Bits of the kernel's XDP features (linux/netdev.h, enum netdev_xdp_act).
const (
	xdpBasic     = 1 << 0
	xdpFragments = 1 << 5 // NETDEV_XDP_ACT_RX_SG
)

// xdpFeatures asks what XDP the driver has. Kernels before 6.3 don't say.
func xdpFeatures(index int) (features uint64, known bool) {
	family, err := netlink.GenlFamilyGet("netdev")
	if err != nil {
		return 0, false
	}
	const deviceGet, deviceIndex, deviceXDPFeatures = 1, 1, 3 // linux/netdev.h
	request := nl.NewNetlinkRequest(int(family.ID), 0)
	request.AddData(genericHeader{deviceGet, 1})
	request.AddData(nl.NewRtAttr(deviceIndex, nl.Uint32Attr(uint32(index))))
	messages, err := request.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil || len(messages) == 0 || len(messages[0]) < nl.SizeofGenlmsg {
		return 0, false
	}
	attributes, err := nl.ParseRouteAttr(messages[0][nl.SizeofGenlmsg:])
	if err != nil {
		return 0, false
	}
	for _, attribute := range attributes {
		if attribute.Attr.Type == deviceXDPFeatures && len(attribute.Value) == 8 {
			return nl.NativeEndian().Uint64(attribute.Value), true
		}
	}
	return 0, false
}

// genericHeader is the kernel's struct genlmsghdr: command, version and two bytes
// of zero, which netlink's own type leaves to chance.
type genericHeader [nl.SizeofGenlmsg]byte

// Len implements nl.NetlinkRequestData.
func (genericHeader) Len() int { return nl.SizeofGenlmsg }

// Serialize implements nl.NetlinkRequestData.
func (h genericHeader) Serialize() []byte { return h[:] }

// inspect looks for other programs and for settings that matter.
func (r *InterfaceReport) inspect(missing []Capability) {
	if !r.Up {
		r.Findings = append(r.Findings, Finding{"down", "nothing comes", "ip link set " + r.Name + " up"})
	}
	r.inspectOffloads()
	if r.Queues > 1 {
		r.Findings = append(r.Findings, Finding{
			"RSS over " + count(r.Queues, "queue"),
			"fine, symmetric or not: the ring keeps the order", "",
		})
	}
	if r.XDPProgram != 0 {
		r.Programs = append(r.Programs, findHolder("XDP", r.XDPProgram))
	}
	if len(missing) == 0 {
		r.Programs = append(r.Programs, tcxHolders(r.Index)...)
		r.Programs = append(r.Programs, clsactHolders(r.Index)...)
	}
}

func (r *InterfaceReport) inspectOffloads() {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(socket)
	flags, err := ethtoolFlags(socket, r.Name)
	if err != nil {
		return
	}
	if flags&ethtoolFlagLRO != 0 {
		r.Findings = append(r.Findings, Finding{"lro on", "merges packets before any hook", "ethtool -K " + r.Name + " lro off"})
	}
	// TCX gets a stripped tag from the stack; XDP does not.
	if flags&ethtoolFlagRXVLAN != 0 && r.Ingress == modeXDP {
		r.Findings = append(r.Findings, Finding{"rxvlan on", "hides the outer VLAN tag from XDP", "ethtool -K " + r.Name + " rxvlan off"})
	}
}

func tcxHolders(index int) []Holder {
	var holders []Holder
	for _, hook := range []bpf.Hook{bpf.HookTCIngress, bpf.HookTCEgress} {
		result, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: tcxAttachTypes[hook]})
		if err != nil {
			continue // no TCX in this kernel
		}
		for _, program := range result.Programs {
			holders = append(holders, findHolder("TCX "+sides[hook], uint32(program.ID)))
		}
	}
	return holders
}

var sides = map[bpf.Hook]string{bpf.HookTCIngress: "ingress", bpf.HookTCEgress: "egress"}

func clsactHolders(index int) []Holder {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil
	}
	defer handle.Close()
	var holders []Holder
	for _, hook := range []bpf.Hook{bpf.HookTCIngress, bpf.HookTCEgress} {
		filters, err := clsactFilters(handle, index, clsactParents[hook])
		if err != nil {
			continue
		}
		for _, filter := range filters {
			if program, ok := filter.(*netlink.BpfFilter); ok {
				holders = append(holders, findHolder("clsact "+sides[hook], uint32(program.Id)))
			}
		}
	}
	return holders
}

// tryCapture goes as far as it can without attaching: it creates the maps, with
// a small ring, and has the kernel verify the programs.
func tryCapture(kernel kernelVersion, p plan, r *InterfaceReport) error {
	if p.ingress == ingressXDP && r.XDPProgram != 0 {
		return xdpHeldError(r.Name, unix.EBUSY)
	}
	l, err := newLoader(kernel, 1, transportConfig{cpus: 1, ringBytes: ringLeast, batchBytes: batchPerPacket})
	if err != nil {
		return err
	}
	defer l.close()
	for _, hook := range p.hooks() {
		collection, err := l.load(hook, &r.Interface, 0)
		if err != nil {
			return err
		}
		collection.Close()
	}
	return nil
}

// hooks are those that the plan uses.
func (p plan) hooks() []bpf.Hook {
	var hooks []bpf.Hook
	switch p.ingress {
	case ingressXDP, ingressXDPGeneric:
		hooks = append(hooks, bpf.HookXDP)
	case ingressTCX:
		hooks = append(hooks, bpf.HookTCIngress)
	}
	if p.egress {
		hooks = append(hooks, bpf.HookTCEgress)
	}
	return hooks
}
