// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command init is the first and only process of the machine that
// hack/testkernel/run boots: it loads the modules in /modules, runs the test
// binaries that /tests names, prints one result line and powers off. Everything
// goes to the serial console.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The result lines, which run looks for.
const (
	resultPass = "testkernel: result: pass"
	resultFail = "testkernel: result: fail"
)

func main() {
	result := resultPass
	if err := run(); err != nil {
		fmt.Println("testkernel:", err)
		result = resultFail
	}
	fmt.Println(result)
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("testkernel: power off:", err)
	}
}

func run() error {
	if err := setUp(); err != nil {
		return err
	}
	tests, err := os.Open("/tests")
	if err != nil {
		return err
	}
	defer tests.Close()
	var failed []error
	for lines := bufio.NewScanner(tests); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if err := runTest(fields[0], fields[1:]); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", fields[0], err))
		}
	}
	return errors.Join(failed...)
}

// runTest runs one test binary in its package's folder, as go test does.
func runTest(binary string, args []string) error {
	fmt.Println("testkernel: run", binary, strings.Join(args, " "))
	cmd := exec.Command(binary, args...)
	cmd.Dir = filepath.Dir(binary)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	cmd.Env = []string{"CONNTAP_REQUIRE_BPF=1", "CONNTAP_TEST_MACHINE=1", "HOME=/tmp", "TMPDIR=/tmp", "PATH=/"}
	return cmd.Run()
}

func setUp() error {
	for _, m := range []struct{ kind, path string }{
		{"proc", "/proc"},
		{"sysfs", "/sys"},
		{"bpf", "/sys/fs/bpf"},
		{"cgroup2", "/sys/fs/cgroup"},
		{"devtmpfs", "/dev"},
		{"tmpfs", "/tmp"},
		{"tmpfs", "/run"},
	} {
		if err := os.MkdirAll(m.path, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.path, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.path, err)
		}
	}
	if err := filepath.WalkDir("/modules", loadModule); err != nil {
		return err
	}
	return raiseLoopback()
}

// loadModule loads the modules in the order of their names.
func loadModule(path string, entry fs.DirEntry, err error) error {
	if err != nil || entry.IsDir() {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
		return fmt.Errorf("load %s: %w", path, err)
	}
	return nil
}

func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}
