// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"os"
	"testing"
)

func TestCheckKernel(t *testing.T) {
	tests := []struct {
		release string
		want    kernelVersion
		tooOld  bool
	}{
		{"6.1.0-28-cloud-amd64", kernelVersion{6, 1}, false},
		{"5.15.0", kernelVersion{5, 15}, false},
		{"5.14.21-150500", kernelVersion{5, 14}, true},
		{"4.18.0-553.el8", kernelVersion{4, 18}, true},
		{"10.2.1", kernelVersion{10, 2}, false},
	}
	for _, tt := range tests {
		t.Run(tt.release, func(t *testing.T) {
			v, err := parseKernelVersion(tt.release)
			if err != nil || v != tt.want {
				t.Errorf("want %v, got %v, %v", tt.want, v, err)
			}
			if got := checkKernel(v, tt.release) != nil; got != tt.tooOld {
				t.Errorf("want too old %v, got %v", tt.tooOld, got)
			}
		})
	}
	if _, err := parseKernelVersion("hurd"); err == nil {
		t.Error("want an error for a release without a version")
	}
}

func TestRights(t *testing.T) {
	needed := neededCapabilities(CaptureAuto, true)
	program, err := os.Executable()
	must(t, err)
	tests := []struct {
		name string
		set  capabilitySet
		want string
	}{
		{"root", ^capabilitySet(0), ""},
		{"just what it takes", 1<<CapBPF | 1<<CapNetAdmin | 1<<CapPerfmon | 1<<CapNetRaw, ""},
		{"CAP_SYS_ADMIN stands for the BPF ones", 1<<CapSysAdmin | 1<<CapNetAdmin | 1<<CapNetRaw, ""},
		{"user", 0, "live capture needs CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_NET_RAW; not held: CAP_BPF, " +
			"CAP_NET_ADMIN, CAP_PERFMON, CAP_NET_RAW. Run it with sudo, or once: " +
			"sudo setcap cap_bpf,cap_net_admin,cap_perfmon,cap_net_raw+ep " + program},
		{"container with the usual rights", 1 << CapNetRaw, "live capture needs CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, " +
			"CAP_NET_RAW; not held: CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON. Run it with sudo, or once: " +
			"sudo setcap cap_bpf,cap_net_admin,cap_perfmon,cap_net_raw+ep " + program},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := message(rightsError(tt.set.missing(needed), needed)); got != tt.want {
				t.Errorf("\nwant %q\ngot  %q", tt.want, got)
			}
		})
	}
}
