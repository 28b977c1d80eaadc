// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"conntap/bpf"
)

// programNames are the programs of the object file.
var programNames = map[bpf.Hook]string{
	bpf.HookXDP:       conntapProgConntapXdp,
	bpf.HookTCIngress: conntapProgConntapTcIngress,
	bpf.HookTCEgress:  conntapProgConntapTcEgress,
}

// What stands first in a frame, as enum link in bpf/maps.h.
const (
	linkEthernet = 0
	linkIP       = 1
)

// loader loads the capture programs, one at a time, each with the constants of
// its interface. All share one ring and one set of counters.
type loader struct {
	spec   *ebpf.CollectionSpec
	kernel kernelVersion
	clsact bool // TCX is not to be had
	shared map[string]*ebpf.Map

	noTunnels bool // the outermost packets alone
	verify    bool // judge checksums
	drop      bool // XDP ends the way of the packets
	selection Selection
}

// newLoader creates the maps that the programs share, for so many interfaces.
func newLoader(kernel kernelVersion, interfaces int, ringBytes uint32) (*loader, error) {
	spec, err := loadConntap()
	if err != nil {
		return nil, fmt.Errorf("reading the BPF object: %w", err)
	}
	spec.Maps[conntapMapRing].MaxEntries = ringBytes
	spec.Maps[conntapMapCounters].MaxEntries = uint32(interfaces * bpf.HookCount)
	l := &loader{spec: spec, kernel: kernel, clsact: kernel.before(tcxKernel), shared: map[string]*ebpf.Map{}}
	for _, name := range []string{conntapMapRing, conntapMapCounters, conntapMapStaging, conntapMapFlowsSeen} {
		m, err := ebpf.NewMap(spec.Maps[name])
		if err != nil {
			l.close()
			return nil, fmt.Errorf("creating the BPF map %q: %w", name, refusal(err))
		}
		l.shared[name] = m
	}
	return l, nil
}

// close releases the maps, which must not be in use by the loader's caller.
func (l *loader) close() {
	for _, m := range l.shared {
		m.Close()
	}
}

// load loads the program for hook, with the constants of the interface.
func (l *loader) load(hook bpf.Hook, i *Interface, slot uint16) (*ebpf.Collection, error) {
	spec := l.spec.Copy()
	name := programNames[hook]
	program := spec.Programs[name]
	if hook == bpf.HookXDP && l.kernel.before(xdpFragsKernel) {
		program = spec.Programs[conntapProgConntapXdpLinear]
	}
	if hook != bpf.HookXDP && l.clsact {
		program.AttachType = ebpf.AttachNone
	}
	spec.Programs = map[string]*ebpf.ProgramSpec{name: program}
	if err := l.configure(spec, i, slot); err != nil {
		return nil, err
	}
	if l.selection.Filter != nil {
		if err := installFilter(program, l.selection.Filter); err != nil {
			return nil, err
		}
	}
	collection, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: l.shared})
	if err != nil {
		return nil, fmt.Errorf("%s: loading the BPF program %s: %w", i.Name, name, refusal(err))
	}
	return collection, nil
}

func (l *loader) configure(spec *ebpf.CollectionSpec, i *Interface, slot uint16) error {
	var config conntapConfig
	variable := spec.Variables[conntapVarConfig]
	if err := variable.Get(&config); err != nil {
		return fmt.Errorf("reading the BPF program's constants: %w", err)
	}
	config.Interface, config.Link = slot, linkEthernet
	if i.hasBareIP() {
		config.Link = linkIP
	}
	if l.noTunnels {
		config.Tunnels = 0
	}
	if l.verify {
		config.Verify = 1
	}
	if l.drop {
		config.Drop = 1
	}
	if l.selection.Filter != nil {
		config.Filter = 1
	}
	config.Sample = l.selection.Sample
	if l.kernel.before(xdpFragsKernel) {
		config.Layers = 0 // no bpf_loop, no bpf_xdp_load_bytes
	}
	if err := variable.Set(config); err != nil {
		return fmt.Errorf("setting the BPF program's constants: %w", err)
	}
	return nil
}

// refusal says what the kernel's bare "operation not permitted" means to one
// who has the capabilities.
func refusal(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (in a container: it must have its capabilities in the host's user namespace)", err)
	}
	return err
}
