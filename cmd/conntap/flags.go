// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// choice is a flag that takes one of a few words.
type choice struct {
	value string
	of    []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "word" }

// Set takes the flag's value from the command line.
func (c *choice) Set(s string) error {
	if !slices.Contains(c.of, s) {
		return fmt.Errorf("want %s", either(c.of))
	}
	c.value = s
	return nil
}

// choices is a flag that takes several of a few words, separated by commas or
// in several flags.
type choices struct {
	values []string
	of     []string
}

func (c *choices) String() string { return strings.Join(c.values, ",") }
func (c *choices) Type() string   { return "list" }

// Set adds the flag's values from the command line.
func (c *choices) Set(s string) error {
	for word := range strings.SplitSeq(s, ",") {
		if word = strings.TrimSpace(word); !slices.Contains(c.of, word) {
			return fmt.Errorf("%q: want %s", word, either(c.of))
		}
		c.values = append(c.values, word)
	}
	return nil
}

// has tells whether word was given.
func (c *choices) has(word string) bool { return slices.Contains(c.values, word) }

// either writes words as "a, b or c".
func either(words []string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// byteSize is a flag that takes a number of bytes: 65536, 512K, 64M, 1G.
type byteSize int

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return sizeText(int64(*b))
}

func (b *byteSize) Type() string { return "size" }

// Set takes the flag's value from the command line.
func (b *byteSize) Set(s string) error {
	n, err := parseSize(s, min(62, strconv.IntSize-1))
	*b = byteSize(n)
	return err
}

// parseSize reads a number of bytes, which has as many bits at most.
func parseSize(s string, bits int) (int64, error) {
	shift := 0
	digits := strings.TrimRight(strings.ToUpper(s), "IB")
	if i := strings.IndexAny(digits, "KMG"); i >= 0 && i == len(digits)-1 {
		shift = 10 * (1 + strings.IndexByte("KMG", digits[i]))
		digits = digits[:i]
	}
	n, err := strconv.ParseUint(digits, 10, bits)
	if err != nil || n > (1<<bits-1)>>shift {
		return 0, errors.New("want a size such as 512K or 64M")
	}
	return int64(n << shift), nil
}

// sizeText is a size as parseSize reads it.
func sizeText(n int64) string {
	unit := ""
	for _, u := range []string{"K", "M", "G"} {
		if n%1024 != 0 {
			break
		}
		n, unit = n/1024, u
	}
	return strconv.FormatInt(n, 10) + unit
}

var (
	_ pflag.Value = (*choice)(nil)
	_ pflag.Value = (*choices)(nil)
	_ pflag.Value = (*byteSize)(nil)
)
