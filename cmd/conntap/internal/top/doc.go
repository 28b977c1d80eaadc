// SPDX-License-Identifier: Apache-2.0

// Package top is the live view of a capture on a terminal.
//
// A [Watcher] turns counters and walks over the open connections into figures and
// pictures; a [Screen] holds what the user wants to see of them, and draws it.
package top
