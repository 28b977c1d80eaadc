// SPDX-License-Identifier: Apache-2.0

package thread

import (
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestGo: wherever Go is called, the thread is another and not the main one, and it
// ends.
func TestGo(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // the main thread's turn comes soon
	for range 100 {
		thread := make(chan int)
		Go(func() { thread <- unix.Gettid() })
		id := <-thread
		if id == unix.Getpid() {
			t.Fatal("want another thread than the main one")
		}
		for deadline := time.Now().Add(30 * time.Second); exists(id); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("thread %d did not end", id)
			}
		}
	}
}

func exists(thread int) bool {
	_, err := os.Stat("/proc/self/task/" + strconv.Itoa(thread))
	return err == nil
}
