// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"conntap/cmd/conntap/internal/affinity"
)

// thisMachine says what the figures are of.
func thisMachine() (Machine, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return Machine{}, fmt.Errorf("asking for the kernel's version: %w", err)
	}
	return Machine{CPU: cpuModel(), CPUs: runtime.NumCPU(), Kernel: unix.ByteSliceToString(name.Release[:])}, nil
}

// cpuModel is the processor's name; many ARM kernels don't tell.
func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// usage is CPU time.
type usage struct{ user, system time.Duration }

func (u usage) plus(v usage) usage  { return usage{u.user + v.user, u.system + v.system} }
func (u usage) minus(v usage) usage { return usage{u.user - v.user, u.system - v.system} }

// processUsage is what all threads used, threadUsage the calling one.
func processUsage() usage { return readUsage(unix.RUSAGE_SELF) }
func threadUsage() usage  { return readUsage(unix.RUSAGE_THREAD) }

func readUsage(who int) usage {
	var r unix.Rusage
	if err := unix.Getrusage(who, &r); err != nil {
		panic(err) // it takes a bad argument
	}
	return usage{time.Duration(r.Utime.Nano()), time.Duration(r.Stime.Nano())}
}

// placeThreads chooses the producers' CPUs, the last ones that this process may
// use, and keeps all its threads to the others, as run --cpus does. If no CPU is
// left, all share all.
func placeThreads(producers int) (producerCPUs, consumerCPUs []int, err error) {
	allowed, err := affinity.Allowed()
	if err != nil {
		return nil, nil, err
	}
	if producers > len(allowed) {
		return nil, nil, fmt.Errorf("%d producers, but this process may use %d CPUs only", producers, len(allowed))
	}
	producerCPUs = allowed[len(allowed)-producers:]
	consumerCPUs = allowed[:len(allowed)-producers]
	if len(consumerCPUs) == 0 {
		return producerCPUs, allowed, nil
	}
	runtime.GOMAXPROCS(len(consumerCPUs))
	return producerCPUs, consumerCPUs, affinity.Confine(consumerCPUs)
}

// cpuTimes are sums over all CPUs since boot, in the kernel's ticks.
type cpuTimes struct{ total, stolen uint64 }

// readCPUTimes reads the first line of /proc/stat (man 5 proc): user, nice,
// system, idle, iowait, irq, softirq, steal; guest times are in user and nice.
func readCPUTimes() cpuTimes {
	const fields, steal = 8, 7
	var times cpuTimes
	stat, _ := os.ReadFile("/proc/stat")
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	for i, field := range strings.Fields(string(line)) {
		ticks, err := strconv.ParseUint(field, 10, 64)
		if err != nil || i > fields { // the line's name
			continue
		}
		times.total += ticks
		if i == steal+1 {
			times.stolen = ticks
		}
	}
	return times
}

// stolenSince is the share of CPU time that the hypervisor gave to others.
func stolenSince(before cpuTimes) float64 {
	now := readCPUTimes()
	if now.total == before.total {
		return 0
	}
	return float64(now.stolen-before.stolen) / float64(now.total-before.total)
}

// gcPauses is how often the garbage collector has stopped the process, by how
// long.
func gcPauses() *metrics.Float64Histogram {
	sample := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return &metrics.Float64Histogram{}
	}
	return sample[0].Value.Float64Histogram()
}

// longestPause is an upper bound in ns of the longest of the stops since before.
func longestPause(before *metrics.Float64Histogram) float64 {
	now := gcPauses()
	for i := len(now.Counts) - 1; i >= 0; i-- {
		if i < len(before.Counts) && now.Counts[i] > before.Counts[i] {
			return min(now.Buckets[i+1], 10) * 1e9 // the last bucket has no end
		}
	}
	return 0
}
