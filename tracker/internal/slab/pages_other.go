// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package slab

func newPages(size int) pages { return heapPages(size) }

func unmap([]byte) {}
