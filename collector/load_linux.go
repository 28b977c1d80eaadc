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
// its interface. All share the maps of one transport and one set of counters.
type loader struct {
	spec      *ebpf.CollectionSpec
	slots     int
	many      *sharedPrograms // nil: each interface has programs of its own
	kernel    kernelVersion
	clsact    bool // TCX is not to be had
	shared    map[string]*ebpf.Map
	transport *transport

	noTunnels   bool // the outermost packets alone
	noLinkLayer bool // no addresses, no VLAN ids
	identity    bool // say what tells copies of a packet from others
	verify      bool // judge checksums
	owners      bool // say who made what leaves
	drop        bool // XDP ends the way of the packets
	selection   Selection
}

// newLoader creates the maps that the programs share, with counters for so many
// interfaces at a time, a power of two.
func newLoader(kernel kernelVersion, slots int, c transportConfig) (*loader, error) {
	spec, err := loadConntap()
	if err != nil {
		return nil, fmt.Errorf("reading the BPF object: %w", err)
	}
	spec.Maps[conntapMapCounters].MaxEntries = uint32(slots * bpf.HookCount)
	if slots > ownPrograms {
		spec.Maps[conntapMapInterfaces].MaxEntries = numberPlaces
	}
	l := &loader{spec: spec, slots: slots, kernel: kernel, clsact: kernel.before(tcxKernel), shared: map[string]*ebpf.Map{}}
	if err := l.createMaps(c); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *loader) createMaps(c transportConfig) error {
	c.fit(l.spec)
	for name, spec := range l.spec.Maps {
		if spec.Type == ebpf.Array && spec.Flags&unix.BPF_F_RDONLY_PROG != 0 {
			continue // constants: each program has its own
		}
		m, err := ebpf.NewMap(spec)
		if err != nil {
			return fmt.Errorf("creating the BPF map %q: %w", name, refusal(err))
		}
		l.shared[name] = m
	}
	if l.slots > ownPrograms {
		l.many = newSharedPrograms(l.shared[conntapMapInterfaces])
	}
	var err error
	l.transport, err = newTransport(l, c)
	return err
}

// close releases the maps, which must not be in use by the loader's caller.
func (l *loader) close() {
	if l.transport != nil {
		l.transport.close()
	}
	if l.many != nil {
		l.many.close()
	}
	for _, m := range l.shared {
		m.Close()
	}
}

// load loads the program for hook, with the constants of the interface.
func (l *loader) load(hook bpf.Hook, i *Interface, number uint16) (*ebpf.Collection, error) {
	name := programNames[hook]
	if hook == bpf.HookXDP && l.kernel.before(xdpFragsKernel) {
		name = conntapProgConntapXdpLinear
	}
	config, err := l.config(hook, i, number)
	if err != nil {
		return nil, err
	}
	collection, err := l.loadProgram(name, config, ebpf.ProgramOptions{}, l.installSelection)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", i.Name, err)
	}
	return collection, nil
}

// config is what the object says, for the hook of the interface.
func (l *loader) config(hook bpf.Hook, i *Interface, number uint16) (conntapConfig, error) {
	config, err := l.defaults()
	if err != nil {
		return config, err
	}
	config.Interface, config.SlotMask = number, uint32(l.slots-1)
	config.Slot = uint32(number) & config.SlotMask
	if i.hasBareIP() {
		config.Link = linkIP
	}
	if l.noTunnels {
		config.Tunnels = 0
	}
	if l.noLinkLayer {
		config.L2 = 0
	}
	if l.identity {
		config.Identity = 1
	}
	if l.verify {
		config.Verify = 1
	}
	if l.owners && hook == bpf.HookTCEgress {
		config.Owner = 1
	}
	if l.drop {
		config.Drop = 1
	}
	if l.selection.Filter != nil {
		config.Filter = 1
	}
	config.Sample = l.selection.Sample
	return config, nil
}

// defaults are the constants that hold on this kernel for this transport.
func (l *loader) defaults() (conntapConfig, error) {
	var config conntapConfig
	if err := l.spec.Variables[conntapVarConfig].Get(&config); err != nil {
		return config, fmt.Errorf("reading the BPF program's constants: %w", err)
	}
	if l.kernel.before(xdpFragsKernel) {
		config.Layers = 0 // no bpf_loop, no bpf_xdp_load_bytes
	}
	if l.transport != nil {
		l.transport.configure(&config)
	}
	return config, nil
}

// installSelection puts the user's filter into a capture program.
func (l *loader) installSelection(program *ebpf.ProgramSpec) error {
	if l.selection.Filter == nil {
		return nil
	}
	return installFilter(program, l.selection.Filter)
}

// loadProgram loads one program of the object with its constants, changed by each of
// change.
func (l *loader) loadProgram(name string, config conntapConfig, options ebpf.ProgramOptions, change ...func(*ebpf.ProgramSpec) error) (*ebpf.Collection, error) {
	spec := l.spec.Copy()
	program := spec.Programs[name]
	for _, f := range change {
		if err := f(program); err != nil {
			return nil, err
		}
	}
	if program.Type == ebpf.SchedCLS && l.clsact {
		program.AttachType = ebpf.AttachNone
	}
	spec.Programs = map[string]*ebpf.ProgramSpec{name: program}
	if err := spec.Variables[conntapVarConfig].Set(config); err != nil {
		return nil, fmt.Errorf("setting the BPF program's constants: %w", err)
	}
	program.Instructions = foldConstants(program.Instructions, spec.Variables[conntapVarConfig])
	collection, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: l.shared, Programs: options})
	if err != nil {
		return nil, fmt.Errorf("loading the BPF program %s: %w", name, refusal(err))
	}
	return collection, nil
}

// refusal says what the kernel's bare "operation not permitted" means to one
// who has the capabilities.
func refusal(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (in a container: it must have its capabilities in the host's user namespace)", err)
	}
	return err
}
