// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"conntap/collector/thread"
)

// namespacesDir is where ip-netns(8) keeps the names of network namespaces.
const namespacesDir = "/run/netns/"

// namespacePath is the file of a network namespace: of the process with that id, at
// that path if there is a slash in it, or of that name.
func namespacePath(text string) string {
	if strings.ContainsRune(text, '/') {
		return text
	}
	if _, err := strconv.ParseUint(text, 10, 31); err == nil {
		return "/proc/" + text + "/ns/net"
	}
	return namespacesDir + text
}

// openNamespace opens a network namespace, "" the calling thread's. While it is open it
// stays, even if all of its processes end.
func openNamespace(text string) (*os.File, error) {
	if text == "" {
		file, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return nil, fmt.Errorf("opening the network namespace: %w", err)
		}
		return file, nil
	}
	file, err := os.Open(namespacePath(text))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--netns %s: no such network namespace (%s): give a name that ip netns lists, a path, or "+
			"the id of a process in it", text, namespacePath(text))
	}
	if err != nil {
		return nil, fmt.Errorf("--netns %s: %w", text, err)
	}
	if kind, err := unix.IoctlRetInt(int(file.Fd()), unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		return nil, errors.Join(fmt.Errorf("--netns %s: %s is no network namespace", text, file.Name()), file.Close())
	}
	return file, nil
}

// goIn runs f on a thread of its own, which is in the namespace and ends with f. It
// returns once that thread is there.
func goIn(namespace *os.File, f func()) error {
	entered := make(chan error)
	thread.Go(func() {
		err := enter(namespace)
		entered <- err
		if err == nil {
			f()
		}
	})
	return <-entered
}

// runIn is goIn that waits for f, and returns its error.
func runIn(namespace *os.File, f func() error) error {
	var result error
	done := make(chan struct{})
	if err := goIn(namespace, func() { result = f(); close(done) }); err != nil {
		return err
	}
	<-done
	return result
}

// runInNamed is runIn for a namespace that is open for f alone, or for that of the
// calling thread, which then runs f.
func runInNamed(text string, f func() error) error {
	if text == "" {
		return f()
	}
	namespace, err := openNamespace(text)
	if err != nil {
		return err
	}
	defer namespace.Close()
	return runIn(namespace, f)
}

// enter moves the calling thread, if it is not there. The kernel wants CAP_SYS_ADMIN
// even of who is there.
func enter(namespace *os.File) error {
	there, err := namespace.Stat()
	if err != nil {
		return fmt.Errorf("entering the network namespace: %w", err)
	}
	if here, err := os.Stat("/proc/thread-self/ns/net"); err == nil && os.SameFile(here, there) {
		return nil
	}
	err = unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("entering the network namespace %s takes CAP_SYS_ADMIN: run it with sudo (%w)", namespace.Name(), err)
	}
	if err != nil {
		return fmt.Errorf("entering the network namespace %s: %w", namespace.Name(), err)
	}
	return nil
}
