// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package connlog

import "os"

const noFollow = 0

func lockedByOther(*os.File) bool { return false }

// unlinked is false, as an open file can't be removed.
func unlinked(os.FileInfo) bool { return false }
