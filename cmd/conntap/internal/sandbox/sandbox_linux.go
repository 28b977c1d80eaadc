// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	abi "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// Enter takes from the process all that c does not keep. A kernel that lacks Landlock, or
// a part of it, is no error.
func Enter(c Config) (*Result, error) {
	keep, err := c.capabilities()
	if err != nil {
		return nil, fmt.Errorf("sandbox: looking for what the process may read and write: %w", err)
	}
	r := &Result{Write: c.Write}
	if r.Capabilities, err = keepOnly(keep); err != nil {
		return nil, fmt.Errorf("sandbox: dropping capabilities: %w", err)
	}
	if _, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("sandbox: setting no_new_privs: %w", err)
	}
	if r.Landlock, err = c.restrict(); err != nil {
		return nil, fmt.Errorf("sandbox: Landlock: %w", err)
	}
	return r, nil
}

// capabilities are those that the process is to keep: what capture takes and, if files
// are another user's, what makes root their master.
func (c *Config) capabilities() ([]cap.Value, error) {
	var keep []cap.Value
	for _, capability := range c.Keep {
		keep = append(keep, cap.Value(capability))
	}
	if c.GiveAway { // and what was given away is to be read, when it is compressed
		keep = append(keep, cap.CHOWN, cap.DAC_OVERRIDE)
	}
	masters, err := masterOf(c.Read, c.Write)
	return append(keep, masters...), err
}

// masterOf are the capabilities without which the process could not read, or write into,
// some of these. It tries on a thread of its own.
func masterOf(read, write []string) (needed []cap.Value, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = withoutCapabilities(func() {
			if slices.ContainsFunc(read, func(path string) bool { return refused(path, unix.R_OK) }) {
				needed = append(needed, cap.DAC_READ_SEARCH)
			}
			if slices.ContainsFunc(write, func(path string) bool { return refused(path, unix.R_OK|unix.W_OK|unix.X_OK) }) {
				needed = append(needed, cap.DAC_OVERRIDE)
			}
		})
	}()
	<-done
	return needed, err
}

func refused(path string, mode uint32) bool {
	return errors.Is(unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS), unix.EACCES)
}

// keepOnly drops all capabilities but those of keep that the process has, and returns
// their names.
func keepOnly(keep []cap.Value) (names []string, err error) {
	held, set := cap.GetProc(), cap.NewSet()
	var others []cap.Value
	for v := range cap.MaxBits() {
		has, err := held.GetFlag(cap.Permitted, v)
		if err != nil {
			return nil, err
		}
		if !has || !slices.Contains(keep, v) {
			others = append(others, v)
			continue
		}
		if err := errors.Join(set.SetFlag(cap.Permitted, true, v), set.SetFlag(cap.Effective, true, v)); err != nil {
			return nil, err
		}
		names = append(names, strings.ToUpper(v.String()))
	}
	// The bounding set takes CAP_SETPCAP. Without, nothing is lost: no_new_privs keeps a
	// program that were executed from getting any.
	if may, err := held.GetFlag(cap.Effective, cap.SETPCAP); err == nil && may {
		if err := cap.DropBound(others...); err != nil {
			return nil, err
		}
	}
	return names, set.SetProc() // ambient ones go with those permitted
}

// restrict has Landlock refuse the file system, and new TCP connections and listeners,
// as far as the kernel can. It returns the version of the kernel's Landlock.
func (c *Config) restrict() (int, error) {
	version, err := abi.LandlockGetABIVersion()
	if err != nil || version < 1 { // not in this kernel, or turned off at boot
		return 0, nil
	}
	read := append([]string{"/proc", "/sys", "/etc/localtime", "/usr/share/zoneinfo"}, c.Read...)
	rules := []landlock.Rule{landlock.RWDirs(c.Write...)}
	for _, path := range read {
		var info unix.Stat_t
		if unix.Stat(path, &info) != nil {
			continue // it is not there
		}
		if info.Mode&unix.S_IFMT == unix.S_IFDIR {
			rules = append(rules, landlock.RODirs(path))
		} else {
			rules = append(rules, landlock.ROFiles(path))
		}
	}
	return version, landlock.V11.BestEffort().Restrict(rules...)
}
