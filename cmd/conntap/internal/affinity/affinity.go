// SPDX-License-Identifier: Apache-2.0

// Package affinity says on which CPUs threads run, and who goes first there.
package affinity

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// most is the number of CPUs that Linux can be built for on any machine.
const most = 8192

// CPUs is a set of CPUs as taskset and the kernel write it: 0-3,8. It is a flag's
// value.
type CPUs []int

func (l *CPUs) String() string {
	var text []string
	for i := 0; i < len(*l); {
		first, last := (*l)[i], (*l)[i]
		for i++; i < len(*l) && (*l)[i] == last+1; i++ {
			last = (*l)[i]
		}
		part := strconv.Itoa(first)
		if last > first {
			part += "-" + strconv.Itoa(last)
		}
		text = append(text, part)
	}
	return strings.Join(text, ",")
}

// Type is how help calls the value.
func (l *CPUs) Type() string { return "list" }

// Set takes the flag's value from the command line.
func (l *CPUs) Set(s string) error {
	var list CPUs
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		first, err := strconv.ParseUint(from, 10, 32)
		last := first
		if isRange && err == nil {
			last, err = strconv.ParseUint(to, 10, 32)
		}
		if err != nil || last < first || last >= most {
			return errors.New("want CPUs such as 2 or 0-3,8")
		}
		for cpu := first; cpu <= last; cpu++ {
			list = append(list, int(cpu))
		}
	}
	slices.Sort(list)
	*l = slices.Compact(list)
	return nil
}

// wrap says which CPUs an error is about.
func wrap(list []int, err error) error {
	l := CPUs(list)
	return fmt.Errorf("keeping to CPUs %s: %w", l.String(), err)
}
