// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"reflect"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"conntap/bpf"
)

// objectTypes is the BTF of the embedded object.
func objectTypes(t *testing.T) *btf.Spec {
	t.Helper()
	spec, err := loadConntap()
	if err != nil {
		t.Fatal(err)
	}
	return spec.Types
}

// TestLayout holds the structs of bpf/record.h and their Go twins together, as
// the compiler laid them out: every member's name, place and size.
func TestLayout(t *testing.T) {
	types := objectTypes(t)
	tests := []struct {
		name string
		twin any
	}{
		{"batch_header", bpf.BatchHeader{}},
		{"record_head", bpf.RecordHead{}},
		{"record_ipv4", bpf.RecordIPv4{}},
		{"record_ipv6", bpf.RecordIPv6{}},
		{"block_l2", bpf.L2{}},
		{"block_fragment", bpf.Fragment{}},
		{"block_gso", bpf.GSO{}},
		{"block_identity", bpf.Identity{}},
		{"block_tunnel", bpf.Tunnel{}},
		{"block_owner", bpf.Owner{}},
		{"counters", bpf.Counters{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c *btf.Struct
			if err := types.TypeByName(tt.name, &c); err != nil {
				t.Fatal(err)
			}
			compareStruct(t, c, reflect.TypeOf(tt.twin))
		})
	}
}

func compareStruct(t *testing.T, c *btf.Struct, twin reflect.Type) {
	t.Helper()
	if got, want := twin.Size(), uintptr(c.Size); got != want {
		t.Errorf("%v is of %d bytes, want %d", twin, got, want)
	}
	fields := map[string]reflect.StructField{}
	for i := range twin.NumField() {
		if f := twin.Field(i); f.Tag.Get("bpf") != "" {
			fields[f.Tag.Get("bpf")] = f
		} else if f.Name != "_" {
			t.Errorf("%v.%s has no tag", twin, f.Name)
		}
	}
	for _, member := range c.Members {
		field, ok := fields[member.Name]
		delete(fields, member.Name)
		if !ok {
			if !strings.HasPrefix(member.Name, "reserved") {
				t.Errorf("%v has no field for %s", twin, member.Name)
			}
			continue
		}
		size, err := btf.Sizeof(member.Type)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := field.Offset, uintptr(member.Offset.Bytes()); got != want {
			t.Errorf("%s is at %d, want %d", member.Name, got, want)
		}
		if got, want := field.Type.Size(), uintptr(size); got != want {
			t.Errorf("%s is of %d bytes, want %d", member.Name, got, want)
		}
	}
	for name := range fields {
		t.Errorf("struct %s has no member %s", c.Name, name)
	}
}

// TestEnums holds the enums of bpf/record.h and the Go constants together.
func TestEnums(t *testing.T) {
	types := objectTypes(t)
	reasons := map[string]uint64{}
	for r := range bpf.Reason(bpf.ReasonCount) {
		reasons["REASON_"+strings.ToUpper(r.String())] = uint64(r)
	}
	reasons["REASON_COUNT"] = bpf.ReasonCount
	tests := []struct {
		name   string
		values map[string]uint64
	}{
		{"reason", reasons},
		{"hook", map[string]uint64{
			"HOOK_XDP": uint64(bpf.HookXDP), "HOOK_TC_INGRESS": uint64(bpf.HookTCIngress),
			"HOOK_TC_EGRESS": uint64(bpf.HookTCEgress), "HOOK_COUNT": bpf.HookCount,
		}},
		{"record_kind", map[string]uint64{
			"RECORD_PACKET": uint64(bpf.KindPacket), "RECORD_INNER": uint64(bpf.KindInner),
			"RECORD_VIOLATION": uint64(bpf.KindViolation), "RECORD_EMPTY": uint64(bpf.KindEmpty),
		}},
		{"tunnel_type", map[string]uint64{
			"TUNNEL_NONE": uint64(bpf.TunnelNone), "TUNNEL_IP": uint64(bpf.TunnelIP),
			"TUNNEL_GRE": uint64(bpf.TunnelGRE), "TUNNEL_GRE_UDP": uint64(bpf.TunnelGREUDP),
			"TUNNEL_VXLAN": uint64(bpf.TunnelVXLAN), "TUNNEL_GENEVE": uint64(bpf.TunnelGeneve),
			"TUNNEL_GTPV1": uint64(bpf.TunnelGTPv1), "TUNNEL_TEREDO": uint64(bpf.TunnelTeredo),
			"TUNNEL_AYIYA": uint64(bpf.TunnelAYIYA),
		}},
		{"record_block", map[string]uint64{
			"BLOCK_L2": uint64(bpf.BlockL2), "BLOCK_FRAGMENT": uint64(bpf.BlockFragment),
			"BLOCK_GSO": uint64(bpf.BlockGSO), "BLOCK_IDENTITY": uint64(bpf.BlockIdentity),
			"BLOCK_TUNNEL": uint64(bpf.BlockTunnel), "BLOCK_OWNER": uint64(bpf.BlockOwner),
			"BLOCK_PAYLOAD": uint64(bpf.BlockPayload),
		}},
		{"record_state", map[string]uint64{
			"STATE_IPV6": uint64(bpf.StateIPv6), "STATE_COMPLETE": uint64(bpf.StateComplete),
			"STATE_CHECKSUM": uint64(bpf.StateChecksum), "STATE_MALFORMED": uint64(bpf.StateMalformed),
			"STATE_SHORT_OFFSET": uint64(bpf.StateShortOffset), "STATE_FRAGMENT": uint64(bpf.StateFragment),
			"STATE_NO_LENGTH": uint64(bpf.StateNoLength),
		}},
		{"checksum_state", map[string]uint64{
			"CHECKSUM_UNCHECKED": uint64(bpf.ChecksumUnchecked), "CHECKSUM_GOOD": uint64(bpf.ChecksumGood),
			"CHECKSUM_BAD": uint64(bpf.ChecksumBad), "CHECKSUM_NOT_FINAL": uint64(bpf.ChecksumNotFinal),
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { compareEnum(t, types, tt.name, tt.values) })
	}
}

func compareEnum(t *testing.T, types *btf.Spec, name string, want map[string]uint64) {
	t.Helper()
	var c *btf.Enum
	if err := types.TypeByName(name, &c); err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, value := range c.Values {
		got[value.Name] = value.Value
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("in C\n%v\nin Go\n%v", got, want)
	}
}
