// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"net/netip"
	"strings"
	"testing"

	"conntap/collector"
)

func TestWriteCheck(t *testing.T) {
	var r collector.Report
	r.Kernel = collector.KernelReport{Release: "6.18.44", BTF: true, JIT: "ok", Lockdown: "none", TCX: true}
	r.Rights = collector.RightsReport{Needed: []string{"CAP_BPF", "CAP_NET_ADMIN"}, Missing: []string{"CAP_BPF"}}
	r.Interface.Interface = collector.Interface{
		Name: "eth0", Driver: "virtio_net", Queues: 2, MTU: 1500, Up: true,
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.5")},
	}
	r.Interface.Ingress, r.Interface.Egress, r.Interface.Certain = "XDP native", "TCX", true
	r.Interface.Programs = []collector.Holder{{Hook: "XDP", Program: 412, Name: "xdp_filter", PID: 991}}
	r.Interface.Findings = []collector.Finding{
		{Setting: "lro on", Effect: "merges packets before XDP", Command: "ethtool -K eth0 lro off"},
		{Setting: "rss", Effect: "not symmetric: fine"},
	}
	r.Ring = collector.RingReport{CPUs: 2, Bytes: 32 << 20, Memory: 8 << 30}
	r.Clock = collector.ClockReport{Source: "kvm-clock", Synchronised: true}
	r.Problem = "no rights"
	const rest = `kernel   6.18.44   BTF ok  JIT ok  lockdown none
rights   missing: CAP_BPF (try sudo)
eth0     virtio_net, 2 queues, MTU 1500, 10.0.0.5  ->  in: XDP native, out: TCX
         XDP: id 412, "xdp_filter", by pid 991
         lro on          merges packets before XDP                     ethtool -K eth0 lro off
         rss             not symmetric: fine
ring     32 MiB for 2 CPUs, of 8.0 GiB (container limit: none)
clock    kvm-clock; wall clock synchronised
`
	write := func() string {
		var b strings.Builder
		if err := WriteCheck(&b, &r); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if got, want := write(), "cannot capture: no rights\n"+rest; got != want {
		t.Errorf("want\n%s\ngot\n%s", want, got)
	}
	r.AFPacket = true
	if got, want := write(), "cannot capture: no rights\nwithout BPF, run --capture afpacket can, at a higher cost\n"+rest; got != want {
		t.Errorf("want\n%s\ngot\n%s", want, got)
	}
	r.OK, r.Problem = true, ""
	r.Rights = collector.RightsReport{Root: true, Needed: []string{"CAP_BPF"}}
	capable := strings.Replace(rest, "missing: CAP_BPF (try sudo)", "ok (root; CAP_BPF would do)", 1)
	for _, tt := range []struct {
		report collector.ProcessReport
		want   string
	}{
		{collector.ProcessReport{OK: true}, capable + "process  --with process would work\n"},
		{collector.ProcessReport{Problem: "no cgroups"}, capable + "process  --with process would not: no cgroups\n"},
	} {
		r.Process = tt.report
		if got := write(); got != tt.want {
			t.Errorf("want\n%s\ngot\n%s", tt.want, got)
		}
	}
}
