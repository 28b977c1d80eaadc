// SPDX-License-Identifier: Apache-2.0

// Package thread runs functions on operating system threads of their own, for what
// belongs to a thread: a network namespace, say.
package thread

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Go has a thread run f, and end with it, whatever f made of the thread. Threads that f
// makes are as others are. It is not the main thread, which can't end before the
// process, and by which /proc knows the process.
func Go(f func()) {
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is nobody else's
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		taken := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(taken)
			f()
		}()
		<-taken
		runtime.UnlockOSThread()
	}()
}
