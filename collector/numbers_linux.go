// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"

	"github.com/cilium/ebpf"

	"conntap/bpf"
)

const (
	// ownPrograms is up to how many interfaces each has programs of its own, with its
	// number as a constant. The kernel takes a tenth of a second to verify one; with
	// more interfaces they share programs, which look the number up, at 1 or 2 ns.
	ownPrograms = 8
	// numberPlaces is where interfaces have a place by their ifindex, a power of two.
	numberPlaces = 1 << 16
)

// sharedPrograms are TC programs of many interfaces. They are for one goroutine.
type sharedPrograms struct {
	numbers *ebpf.Map
	places  map[int]int // taken, by which ifindex
	loaded  map[sharedKind]*ebpf.Collection
}

// sharedKind is what programs that look the number up differ in.
type sharedKind struct {
	hook   bpf.Hook
	bareIP bool
}

func newSharedPrograms(numbers *ebpf.Map) *sharedPrograms {
	return &sharedPrograms{numbers: numbers, places: map[int]int{}, loaded: map[sharedKind]*ebpf.Collection{}}
}

// enter has shared programs know an interface's number; false if its place is taken by
// another's.
func (s *sharedPrograms) enter(index int, number uint16) (bool, error) {
	place := index % numberPlaces
	if holder, taken := s.places[place]; taken && holder != index {
		return false, nil
	}
	value := conntapInterfaceNumber{Index: uint32(index), Number: uint32(number)}
	if err := s.numbers.Put(uint32(place), value); err != nil {
		return false, fmt.Errorf("entering an interface's number: %w", err)
	}
	s.places[place] = index
	return true, nil
}

// leave is for an interface that no program is attached to.
func (s *sharedPrograms) leave(index int) {
	if place := index % numberPlaces; s.places[place] == index {
		delete(s.places, place)
	}
}

func (s *sharedPrograms) close() {
	for _, collection := range s.loaded {
		collection.Close()
	}
}

// loadTC loads the program for a TC hook of an interface, or takes one that it shares
// with others; these keep it.
func (l *loader) loadTC(hook bpf.Hook, i *Interface, number uint16) (program *ebpf.Program, own *ebpf.Collection, err error) {
	collection, err := l.loadShared(hook, i, number)
	if err == nil && collection == nil {
		collection, err = l.load(hook, i, number)
		own = collection
	}
	if err != nil {
		return nil, nil, err
	}
	return collection.Programs[programNames[hook]], own, nil
}

// loadShared is nil if the interface is to have a program of its own.
func (l *loader) loadShared(hook bpf.Hook, i *Interface, number uint16) (*ebpf.Collection, error) {
	if l.many == nil {
		return nil, nil
	}
	if entered, err := l.many.enter(i.Index, number); err != nil || !entered {
		return nil, err
	}
	kind := sharedKind{hook, i.hasBareIP()}
	if collection := l.many.loaded[kind]; collection != nil {
		return collection, nil
	}
	config, err := l.config(hook, i, number)
	if err != nil {
		return nil, err
	}
	config.IndexMask = numberPlaces - 1
	collection, err := l.loadProgram(programNames[hook], config, ebpf.ProgramOptions{}, l.installSelection)
	if err != nil {
		return nil, err
	}
	l.many.loaded[kind] = collection
	return collection, nil
}
