// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"slices"
)

// sums are what is added up of connections.
type sums struct {
	connections, bytes uint64
}

// tally adds up by key. It is exact for up to most keys. Beyond, it keeps those
// that are highest in either sum, and forgets the others: of one that is left or
// comes anew, a part may have been forgotten, missing at most (the algorithm for
// frequent items of Anderson et al., IMC 2017). That part is never more than the sum
// over all keys divided by most/4.
type tally[K comparable] struct {
	most    int
	compare func(a, b K) int
	entries map[K]*entry
	// floor is the highest that a forgotten key may have had.
	floor sums
}

// entry is what is known of a key. Its sums are at least counted, and at most
// counted and missing.
type entry struct {
	counted, missing sums
}

func (e *entry) highest() sums {
	return sums{plus(e.counted.connections, e.missing.connections), plus(e.counted.bytes, e.missing.bytes)}
}

func newTally[K comparable](most int, compare func(a, b K) int) *tally[K] {
	return &tally[K]{most: most, compare: compare, entries: map[K]*entry{}}
}

func (t *tally[K]) add(key K, bytes uint64) {
	e := t.entries[key]
	if e == nil {
		if len(t.entries) >= t.most {
			t.forget()
		}
		e = &entry{missing: t.floor}
		t.entries[key] = e
	}
	e.counted.connections++
	e.counted.bytes = plus(e.counted.bytes, bytes)
}

// forget keeps the quarter with the most connections, and the one with the most
// bytes.
func (t *tally[K]) forget() {
	keep := make(map[K]*entry, t.most)
	quarter := max(t.most/4, 1)
	for _, of := range []func(sums) uint64{connectionsOf, bytesOf} {
		keys := t.sorted(func(e *entry) uint64 { return of(e.highest()) })
		for _, key := range keys[:min(quarter, len(keys))] {
			keep[key] = t.entries[key]
		}
	}
	for key, e := range t.entries {
		if keep[key] == nil {
			highest := e.highest()
			t.floor.connections = max(t.floor.connections, highest.connections)
			t.floor.bytes = max(t.floor.bytes, highest.bytes)
		}
	}
	t.entries = keep
}

func connectionsOf(s sums) uint64 { return s.connections }
func bytesOf(s sums) uint64       { return s.bytes }

// exact says that nothing was forgotten.
func (t *tally[K]) exact() bool { return t.floor == sums{} }

// distinct is how many keys there were; if not exact, at least.
func (t *tally[K]) distinct() int {
	if t.exact() {
		return len(t.entries)
	}
	return t.most
}

// sorted are the keys, the highest first.
func (t *tally[K]) sorted(by func(e *entry) uint64) []K {
	type rank struct {
		key K
		by  uint64
	}
	ranks := make([]rank, 0, len(t.entries))
	for key, e := range t.entries {
		ranks = append(ranks, rank{key, by(e)})
	}
	slices.SortFunc(ranks, func(a, b rank) int {
		if a.by != b.by {
			return cmp.Compare(b.by, a.by)
		}
		return t.compare(a.key, b.key)
	})
	keys := make([]K, len(ranks))
	for i := range ranks {
		keys[i] = ranks[i].key
	}
	return keys
}

// list is the n highest in each sum, by name.
func (t *tally[K]) list(n int, name func(K) string) List {
	return List{
		Distinct: t.distinct(), Exact: t.exact(),
		ByConnections: t.highest(n, connectionsOf, name), ByBytes: t.highest(n, bytesOf, name),
	}
}

func (t *tally[K]) highest(n int, of func(sums) uint64, name func(K) string) []Entry {
	keys := t.sorted(func(e *entry) uint64 { return of(e.counted) })
	list := make([]Entry, 0, n)
	for _, key := range keys[:min(n, len(keys))] {
		e := t.entries[key]
		list = append(list, Entry{
			Name: name(key), Connections: e.counted.connections, Bytes: e.counted.bytes,
			MissingConnections: e.missing.connections, MissingBytes: e.missing.bytes,
		})
	}
	return list
}
