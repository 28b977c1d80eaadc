// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"conntap/collector/thread"
)

func TestCheck(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	addAddress(t, "tap", "10.0.0.2/24")
	r, err := Check("", "tap")
	must(t, err)
	if !r.OK || r.Problem != "" || len(r.Rights.Missing) != 0 {
		t.Errorf("want no problem, got %q, missing %v", r.Problem, r.Rights.Missing)
	}
	if mode := tcMode(t); r.Interface.Ingress != mode || r.Interface.Egress != mode || !r.Interface.Certain || r.Interface.Driver != "veth" {
		t.Errorf("want TCX or clsact both ways on veth, got %+v", r.Interface)
	}
	if r.Kernel.JIT != "ok" || r.Kernel.Release == "" || r.Kernel.Lockdown == "" || r.Clock.Source == "" {
		t.Errorf("want the kernel's facts, got %+v, %+v", r.Kernel, r.Clock)
	}
	if !r.Process.OK || r.Process.Problem != "" {
		t.Errorf("want owners to be had, got %+v", r.Process)
	}
	if r.Ring.CPUs < 1 || r.Ring.Bytes < ringPerCPU || r.Ring.Memory < r.Ring.Bytes {
		t.Errorf("want a ring that fits, got %+v", r.Ring)
	}
	text, err := json.Marshal(r)
	must(t, err)
	if !strings.HasPrefix(string(text), `{"ok":true,"afpacket":true,"kernel":{"release":"`) {
		t.Errorf("unexpected JSON: %s", text)
	}
	checkNothingLeft(t, "tap")
}

func TestCheckUnknown(t *testing.T) {
	if _, err := Check("", "eth99"); !strings.HasPrefix(message(err), `no interface is called "eth99"; there are: `) {
		t.Errorf("want the names that there are, got %v", err)
	}
}

// TestCheckNamespace looks at interfaces of a namespace from outside of it.
func TestCheckNamespace(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	must(t, netlink.LinkSetDown(linkByName(t, "tap")))
	path := fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
	elsewhere := make(chan struct{})
	thread.Go(func() {
		defer close(elsewhere)
		if _, err := Check("", "tap"); err == nil {
			t.Error("want this thread to be in another namespace")
		}
		r, err := Check(path, "tap")
		if err != nil {
			t.Error(err)
			return
		}
		want := Finding{"down", "nothing comes", "nsenter --net=" + path + " ip link set tap up"}
		if !r.OK || len(r.Interface.Findings) == 0 || r.Interface.Findings[0] != want {
			t.Errorf("want %v alone in the way, got %q, %v", want, r.Problem, r.Interface.Findings)
		}
		if names, err := InterfacesUp(path); err != nil || !slices.Equal(names, []string{"far"}) {
			t.Errorf("want far to be up, got %v, %v", names, err)
		}
		if _, err := Check("no-such-namespace", "tap"); !strings.HasPrefix(message(err), "--netns no-such-namespace: ") {
			t.Errorf("want to hear that there is no such namespace, got %v", err)
		}
	})
	<-elsewhere
	must(t, netlink.LinkSetUp(linkByName(t, "tap")))
	if names, err := InterfacesUp(path); err != nil || !slices.Equal(names, []string{"far", "tap"}) {
		t.Errorf("want both to be up, got %v, %v", names, err)
	}
}

// TestCheckFindings looks at an interface with programs of others, that is down.
func TestCheckFindings(t *testing.T) {
	requireTCX(t)
	enterNamespace(t)
	addVeth(t, "tap", "far")
	device := linkByName(t, "tap")
	index := device.Attrs().Index
	program := otherProgram(t, ebpf.SchedCLS, -1)
	tcx, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: program, Attach: ebpf.AttachTCXIngress})
	must(t, err)
	t.Cleanup(func() { tcx.Close() })
	filter, err := attachClsact(index, netlink.HANDLE_MIN_EGRESS, program)
	must(t, err)
	t.Cleanup(func() { filter.Close() })
	xdp := otherProgram(t, ebpf.XDP, xdpPass)
	must(t, netlink.LinkSetXdpFdWithFlags(device, xdp.FD(), int(link.XDPDriverMode)))
	must(t, netlink.LinkSetDown(device))

	r, err := Check("", "tap")
	must(t, err)
	var got []string
	for _, h := range r.Interface.Programs {
		if h.Name != "other" || h.PID != os.Getpid() || h.Program == 0 {
			t.Errorf("want program \"other\" of this process, got %+v", h)
		}
		got = append(got, h.Hook)
	}
	if list := strings.Join(got, ", "); list != "XDP, TCX ingress, clsact egress" {
		t.Errorf("want programs on three hooks, got %s", list)
	}
	want := Finding{"down", "nothing comes", "ip link set tap up"}
	if len(r.Interface.Findings) == 0 || r.Interface.Findings[0] != want {
		t.Errorf("want %v, got %v", want, r.Interface.Findings)
	}
	if !r.OK { // TCX on a veth is in nobody's way
		t.Errorf("want no problem, got %q", r.Problem)
	}
}

func TestCheckRights(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	var r *Report
	var err error
	withCapabilities(t, nil, func() { r, err = Check("", "tap") })
	must(t, err)
	if r.OK || !strings.HasPrefix(r.Problem, "live capture needs CAP_BPF") || len(r.Rights.Missing) != len(r.Rights.Needed) {
		t.Errorf("want missing rights, got %+v", r)
	}
}

// TestXDPFeatures asks the kernel about an interface whose driver has native
// XDP.
func TestXDPFeatures(t *testing.T) {
	enterNamespace(t)
	kernel, release, err := runningKernel()
	must(t, err)
	if kernel.before(kernelVersion{6, 3}) {
		t.Skipf("kernel %s does not say", release)
	}
	addVeth(t, "tap", "far")
	features, known := xdpFeatures(linkByName(t, "tap").Attrs().Index)
	if !known || features&xdpBasic == 0 {
		t.Errorf("want native XDP on veth, got %#x, known %v", features, known)
	}
}

func TestXDPError(t *testing.T) {
	eth := &Interface{Name: "eth3", Driver: "foo", MTU: 1500}
	jumbo := &Interface{Name: "eth3", Driver: "foo", MTU: 9000}
	tests := []struct {
		name string
		i    *Interface
		err  error
		want string
	}{
		{"no native XDP", eth, unix.EOPNOTSUPP, "XDP native mode not supported by eth3 (driver foo): use --capture tcx"},
		{"MTU", jumbo, unix.EINVAL, "eth3: MTU 9000 may be too large for XDP native with driver foo: " +
			"use --capture tcx, or: ip link set eth3 mtu 3498"},
		{"queues", eth, unix.ENOMEM, "eth3: driver foo has no queues to spare for XDP native: " +
			"use --capture tcx, or fewer queues by ethtool -L"},
		{"rights", eth, unix.EPERM, "eth3: attaching XDP: operation not permitted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := xdpError(tt.i, modeXDP, fmt.Errorf("create link: %w", tt.err))
			if !strings.HasPrefix(err.Error(), strings.TrimSuffix(tt.want, ": operation not permitted")) {
				t.Errorf("\nwant %s\ngot  %v", tt.want, err)
			}
		})
	}
}
