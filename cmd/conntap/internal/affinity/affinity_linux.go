// SPDX-License-Identifier: Apache-2.0

package affinity

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

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
	return everyThread(func(id int) error { return keep(id, cpus) })
}

// Yield has no thread of the process take a CPU away from another program when it
// wakes (SCHED_BATCH): it waits for its turn, and gets its share as before. Where
// another policy was chosen, that stays; so it does where a filter of system calls
// forbids the change.
func Yield() error {
	err := everyThread(func(id int) error {
		attr, err := unix.SchedGetAttr(id, 0)
		if err != nil || attr.Policy != unix.SCHED_NORMAL {
			return err
		}
		attr.Policy = unix.SCHED_BATCH
		return unix.SchedSetAttr(id, attr, 0)
	})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

var (
	started = time.Now()
	given   debt
)

// GiveWay lets a program go first that waits for the calling thread's CPU. It is for
// those that do much at a time, to be called again and again in between: without it a
// thread that has a CPU keeps it for milliseconds. What all threads give they want back
// before they give more: at least half of the time is left, however many there are that
// wait. It takes 0.3 µs where nobody does.
func GiveWay() {
	from := time.Since(started)
	if !given.mayGrow(from) {
		return
	}
	unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // never fails; Go need not know
	given.add(from, time.Since(started))
}

// everyThread calls f with each thread of the process, also with those that are made
// meanwhile.
func everyThread(f func(id int) error) error {
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
			if err := f(id); err != nil && !errors.Is(err, unix.ESRCH) { // it has ended
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
