// SPDX-License-Identifier: Apache-2.0

package affinity

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Allowed are the CPUs that the calling thread may use.
func Allowed() (CPUs, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("asking for the CPUs that may be used: %w", err)
	}
	var cpus CPUs
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// Pin keeps the calling thread, which must be locked, on one CPU.
func Pin(cpu int) error { return keep(0, []int{cpu}) }

// Confine keeps every thread of the process to the CPUs. Those that are made later
// do as those that make them.
func Confine(cpus []int) error {
	known := map[string]bool{}
	for more := true; more; { // threads may be made meanwhile
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("listing threads: %w", err)
		}
		more = false
		for _, thread := range threads {
			id, err := strconv.Atoi(thread.Name())
			if err != nil || known[thread.Name()] {
				continue
			}
			known[thread.Name()], more = true, true
			if err := keep(id, cpus); err != nil && !errors.Is(err, unix.ESRCH) { // it has ended
				return err
			}
		}
	}
	return nil
}

// keep keeps a thread, 0 for the calling one, to the CPUs. The kernel takes those that
// are there and allowed, and refuses if none is.
func keep(thread int, cpus []int) error {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	err := unix.SchedSetaffinity(thread, &set)
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.EINVAL) {
		err = errors.New("none of them is there and allowed (lscpu; nproc)")
	}
	return wrap(cpus, err)
}
