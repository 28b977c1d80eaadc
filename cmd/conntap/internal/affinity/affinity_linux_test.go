// SPDX-License-Identifier: Apache-2.0

package affinity

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestConfine keeps this process to its last CPU, also threads made later, and pins
// one to the first again.
func TestConfine(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	all, err := Allowed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := Confine(all); err != nil {
			t.Error(err)
		}
	}()
	last := all[len(all)-1:]
	if err := Confine(last); err != nil {
		t.Fatal(err)
	}
	later := make(chan CPUs)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		allowed, _ := Allowed()
		later <- allowed
	}()
	if got := <-later; !slices.Equal(got, last) {
		t.Errorf("want another thread on %v, got %v", last, got)
	}
	if err := Pin(all[0]); err != nil {
		t.Fatal(err)
	}
	if got, err := Allowed(); err != nil || !slices.Equal(got, all[:1]) {
		t.Errorf("want this thread on %v, got %v, %v", all[:1], got, err)
	}
}

func TestConfineNowhere(t *testing.T) {
	const want = "keeping to CPUs 1000-1001: none of them is there"
	if err := Confine([]int{1000, 1001}); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("want %q, got %v", want, err)
	}
}

// TestYield looks at the policy of all threads, also of one that is made later.
func TestYield(t *testing.T) {
	if err := Yield(); err != nil {
		t.Fatal(err)
	}
	checked := make(chan int)
	go func() {
		runtime.LockOSThread() // for good: a thread of its own
		checked <- unix.Gettid()
	}()
	<-checked
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			t.Fatal(err)
		}
		if attr, err := unix.SchedGetAttr(id, 0); err == nil && attr.Policy != unix.SCHED_BATCH {
			t.Errorf("thread %d of %d: policy %d, want %d", id, len(threads), attr.Policy, unix.SCHED_BATCH)
		}
	}
}

func TestGiveWay(t *testing.T) {
	before := given.even.Load()
	for range 100 {
		GiveWay()
	}
	if given.even.Load() <= before {
		t.Error("nothing of it was noted")
	}
}
