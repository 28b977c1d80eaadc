// SPDX-License-Identifier: Apache-2.0

//go:build unix

package connlog

import (
	"errors"
	"os"
	"syscall"
)

// noFollow keeps a log from being written through a symbolic link.
const noFollow = syscall.O_NOFOLLOW

// lockedByOther locks a directory until it is closed, unless another process has. Where
// the file system has no locks it does nothing.
func lockedByOther(dir *os.File) bool {
	return errors.Is(syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// unlinked tells whether an open file has no name any more.
func unlinked(info os.FileInfo) bool {
	stat, known := info.Sys().(*syscall.Stat_t)
	return known && stat.Nlink == 0
}
