// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
)

// ownerHooks are where the kernel tells of sockets to come.
var ownerHooks = map[string]ebpf.AttachType{
	ownerProgConntapOwnerCreate: ebpf.AttachCGroupInetSockCreate,
	ownerProgConntapOwnerBind4:  ebpf.AttachCGroupInet4PostBind,
	ownerProgConntapOwnerBind6:  ebpf.AttachCGroupInet6PostBind,
}

// ownerWatch notes in each socket of this machine which process opened it.
type ownerWatch struct {
	links   []link.Link
	cgroups *cgroups
}

// watchOwners begins to note owners in a map of sockets. When it returns, the sockets
// that are open have theirs.
func watchOwners(owners *ebpf.Map) (*ownerWatch, error) {
	root, err := cgroupRoot()
	if err != nil {
		return nil, ownerError(err)
	}
	collection, err := loadOwnerPrograms(owners)
	if err != nil {
		return nil, ownerError(err)
	}
	defer collection.Close() // links hold the programs
	w := &ownerWatch{cgroups: openCgroups(root)}
	err = w.attach(collection, root)
	if err == nil {
		err = noteHolders(collection)
	}
	if err != nil {
		w.cgroups.close()
		return nil, errors.Join(ownerError(err), w.detach())
	}
	return w, nil
}

// ownerError says what an error is about.
func ownerError(err error) error { return fmt.Errorf("--with process: %w", err) }

// noEgress is what owners are in vain without.
const noEgress = "only packets that leave say who made them, and none are captured (--direction both)"

// tryOwners goes as far as it can without attaching.
func tryOwners(egress bool) ProcessReport {
	if !egress {
		return ProcessReport{Problem: noEgress}
	}
	_, err := cgroupRoot()
	if err == nil {
		var collection *ebpf.Collection
		if collection, err = loadOwnerPrograms(nil); err == nil {
			collection.Close()
		}
	}
	return ProcessReport{OK: err == nil, Problem: firstLine(err)}
}

// loadOwnerPrograms loads what works on the map; nil: on one of its own.
func loadOwnerPrograms(owners *ebpf.Map) (*ebpf.Collection, error) {
	spec, err := loadOwner()
	if err != nil {
		return nil, fmt.Errorf("reading the BPF object: %w", err)
	}
	var options ebpf.CollectionOptions
	if owners != nil {
		options.MapReplacements = map[string]*ebpf.Map{ownerMapOwners: owners}
	}
	collection, err := ebpf.NewCollectionWithOptions(spec, options)
	switch {
	case errors.Is(err, btf.ErrNotFound), errors.Is(err, btf.ErrNotSupported):
		return nil, fmt.Errorf("the kernel does not describe its structs (CONFIG_DEBUG_INFO_BTF, /sys/kernel/btf/vmlinux): go without (%w)", err)
	case err != nil && lockdownState() == "confidentiality":
		return nil, fmt.Errorf("kernel lockdown (confidentiality) keeps programs from reading the kernel's memory: go without (%w)", err)
	case err != nil:
		return nil, fmt.Errorf("loading the BPF programs: %w", refusal(err))
	}
	return collection, nil
}

// attach has the kernel tell of sockets that processes below a cgroup open.
func (w *ownerWatch) attach(collection *ebpf.Collection, root string) error {
	for name, hook := range ownerHooks {
		l, err := link.AttachCgroup(link.CgroupOptions{Path: root, Attach: hook, Program: collection.Programs[name]})
		if err != nil {
			return fmt.Errorf("attaching to the cgroup %s: %w", root, refusal(err))
		}
		w.links = append(w.links, l)
	}
	return nil
}

// noteHolders goes through the sockets that are open. It does so twice: a connection of
// a server that the first pass has not come to yet has no owner to inherit, and may be
// accepted behind its back.
func noteHolders(collection *ebpf.Collection) error {
	for range 2 {
		for _, name := range []string{ownerProgConntapOwnerFiles, ownerProgConntapOwnerTcp} {
			if err := iterate(collection.Programs[name]); err != nil {
				return fmt.Errorf("looking for open sockets: %w", refusal(err))
			}
		}
	}
	return nil
}

// iterate runs an iterator's program to the end.
func iterate(program *ebpf.Program) error {
	l, err := link.AttachIter(link.IterOptions{Program: program})
	if err != nil {
		return err
	}
	defer l.Close()
	pass, err := l.Open()
	if err != nil {
		return err
	}
	defer pass.Close()
	_, err = io.Copy(io.Discard, pass)
	return err
}

// detach ends it. What was noted stays in the sockets until the map goes.
func (w *ownerWatch) detach() error {
	var errs []error
	for _, l := range w.links {
		errs = append(errs, l.Close())
	}
	w.links = nil
	return errors.Join(errs...)
}
