// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"slices"
	"testing"

	"conntap/bpf"
)

func TestSums(t *testing.T) {
	row := func(name string, hook bpf.Hook, cpu int, n uint64) HookStats {
		r := HookStats{Interface: name, Hook: hook, CPU: cpu}
		r.Seen, r.Recorded, r.Filtered, r.Lost = 4*n, n, n, n
		r.Skipped[bpf.ReasonARP] = n
		return r
	}
	rows := []HookStats{
		row("a", bpf.HookXDP, 0, 1), row("a", bpf.HookXDP, 3, 2), row("a", bpf.HookTCEgress, 0, 4), row("b", bpf.HookXDP, 0, 8),
	}
	byHook := []HookStats{row("a", bpf.HookXDP, -1, 3), row("a", bpf.HookTCEgress, -1, 4), row("b", bpf.HookXDP, -1, 8)}
	if got := SumByHook(rows); !slices.Equal(got, byHook) {
		t.Errorf("by hook: want %+v, got %+v", byHook, got)
	}
	byInterface := []HookStats{row("a", bpf.HookXDP, -1, 7), row("b", bpf.HookXDP, -1, 8)}
	if got := SumByInterface(rows); !slices.Equal(got, byInterface) {
		t.Errorf("by interface: want %+v, got %+v", byInterface, got)
	}
	if rows[0] != row("a", bpf.HookXDP, 0, 1) {
		t.Errorf("the rows were changed: %+v", rows)
	}
}
