// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// nobody is an ordinary user.
const nobody = 65534

// publicConntap is a copy of the binary in a directory that everybody may enter.
func publicConntap(t *testing.T) (binary, dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "conntap-user")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	from, err := os.Open("/proc/self/exe") // becomes conntap by its name
	must(t, err)
	defer from.Close()
	binary = filepath.Join(dir, "conntap")
	to, err := os.OpenFile(binary, os.O_CREATE|os.O_WRONLY, 0o755)
	must(t, err)
	_, err = io.Copy(to, from)
	must(t, errors.Join(err, to.Close()))
	return binary, dir
}

// TestOrdinaryUser runs conntap without root. Without one of the capabilities that it
// takes, it says which; with them it captures, and has what the README says left: what
// it takes to capture on an interface that comes again, or nothing.
func TestOrdinaryUser(t *testing.T) {
	near, far := twoHosts(t)
	binary, dir := publicConntap(t)
	logs := filepath.Join(dir, "log")
	must(t, errors.Join(os.Mkdir(logs, 0o750), os.Chown(logs, nobody, nobody)))
	u := &user{t: t, binary: binary, in: near, args: []string{"run", "-i", "near", "--log-dir", logs}}

	u.start([]uintptr{unix.CAP_BPF, unix.CAP_NET_ADMIN})
	said, err := io.ReadAll(u.messages)
	must(t, err)
	_ = u.run.Wait()
	want := "not held: CAP_PERFMON. Run it with sudo, or once: sudo setcap cap_bpf,cap_net_admin,cap_perfmon+ep " + binary + "\n"
	if code := u.run.ProcessState.ExitCode(); code != exitFailure || !strings.Contains(string(said), want) {
		t.Errorf("want exit code %d and %s, got %d and %s", exitFailure, want, code, said)
	}

	all := []uintptr{unix.CAP_BPF, unix.CAP_NET_ADMIN, unix.CAP_PERFMON}
	u.start(all)
	if said := u.waitFor("tcp rows appear"); !strings.Contains(said, "sandbox: CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF and no other capability, file system read-only but for "+logs) {
		t.Errorf("want a word on the sandbox, got %s", said)
	}
	u.holds("000000c000001000")
	near.do(t, func() error {
		device, err := netlink.LinkByName("near")
		if err != nil {
			return err
		}
		return netlink.LinkDel(device)
	})
	u.waitFor("near is gone")
	near.addVeth(t, "near", far, "far", 1500)
	near.addAddress(t, "near", "192.0.2.1/24")
	far.addAddress(t, "far", "192.0.2.2/24")
	u.waitFor("captured now: near")
	refuse(t, far)
	u.stop()
	if rows, err := os.ReadFile(logs + "/conn.log"); err != nil || !strings.Contains(string(rows), "\tREJ\t") {
		t.Errorf("want the row of a refused connection, got %v\n%s", err, rows)
	}

	u.args = append(u.args, "--sandbox", "strict")
	u.start(all)
	if said := u.waitFor("tcp rows appear"); strings.Contains(said, "out TCX") { // below Linux 6.6 a filter has to be removed
		u.holds("0000000000000000")
	}
	u.stop()
}

// user runs conntap as nobody, with some capabilities.
type user struct {
	t        *testing.T
	binary   string
	args     []string
	in       *namespace
	run      *exec.Cmd
	messages *bufio.Reader
}

func (u *user) start(capabilities []uintptr) {
	u.t.Helper()
	u.run = exec.Command(u.binary, u.args...)
	u.run.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: nobody, Gid: nobody},
		AmbientCaps: capabilities,
	}
	stderr, err := u.run.StderrPipe()
	must(u.t, err)
	u.in.do(u.t, u.run.Start)
	watchdog := time.AfterFunc(30*time.Second, func() { _ = u.run.Process.Kill() })
	u.t.Cleanup(func() { watchdog.Stop() })
	u.messages = bufio.NewReader(stderr)
}

// waitFor returns what is said until a line has that text.
func (u *user) waitFor(text string) (said string) {
	u.t.Helper()
	for {
		line, err := u.messages.ReadString('\n')
		if said += line; err != nil {
			u.t.Fatalf("conntap never said %s, but %s", text, said)
		}
		if strings.Contains(line, text) {
			return said
		}
	}
}

// holds checks the effective capabilities.
func (u *user) holds(want string) {
	u.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", u.run.Process.Pid))
	must(u.t, err)
	if set := regexp.MustCompile(`CapEff:\s*(\S+)`).FindStringSubmatch(string(status)); set[1] != want {
		u.t.Errorf("want the effective capabilities %s, got %s", want, set[1])
	}
}

func (u *user) stop() {
	u.t.Helper()
	time.Sleep(200 * time.Millisecond) // the kernel wakes the reader later
	must(u.t, u.run.Process.Signal(os.Interrupt))
	_, _ = io.Copy(io.Discard, u.messages)
	must(u.t, u.run.Wait())
}
