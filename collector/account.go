// SPDX-License-Identifier: Apache-2.0

package collector

// SumByHook adds up the CPUs of each interface and hook, whose rows stand next to
// each other; CPU is -1.
func SumByHook(rows []HookStats) []HookStats {
	return sumRuns(rows, func(sum, row *HookStats) bool {
		return sum.Interface == row.Interface && sum.Hook == row.Hook
	})
}

// SumByInterface adds up the hooks and CPUs of each interface, whose rows stand next
// to each other; Hook says nothing, CPU is -1.
func SumByInterface(rows []HookStats) []HookStats {
	return sumRuns(rows, func(sum, row *HookStats) bool { return sum.Interface == row.Interface })
}

func sumRuns(rows []HookStats, same func(sum, row *HookStats) bool) (sums []HookStats) {
	for i := range rows {
		if n := len(sums); n > 0 && same(&sums[n-1], &rows[i]) {
			addCounters(&sums[n-1].Counters, &rows[i].Counters)
			continue
		}
		sums = append(sums, rows[i])
		sums[len(sums)-1].CPU = -1
	}
	return sums
}
