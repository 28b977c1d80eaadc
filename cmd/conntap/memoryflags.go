// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/pflag"

	"conntap/cmd/conntap/internal/screen"
	"conntap/collector"
	"conntap/collector/host"
)

const (
	defaultMaxConnections = 1_000_000
	leastMaxConnections   = 1_000
	// ownBytes is for all but rings and connections: the program, packets on their way,
	// fragments, rows to be written, and head room for Go's garbage.
	ownBytes = 64 << 20
	// ringShare and backlogShare are the most that rings, and rows that wait for the disk,
	// take by themselves of the whole: a fourth, and an eighth.
	ringShare    = 4
	backlogShare = 8
	// leastBacklog is what --log-backlog takes at least.
	leastBacklog = 1 << 20
	// heapConnections is how many of each shard stand in Go's heap; the others have
	// memory of their own (tracker/internal/slab).
	heapConnections = 64 << 10
)

// memoryFlags say how much memory conntap may take.
type memoryFlags struct {
	memory byteSize // 0 for what machine and control group suggest

	plan memoryPlan // set by planMemory
}

func (f *memoryFlags) register(fs *pflag.FlagSet) {
	fs.Var(&f.memory, "memory", "how much memory to take in all, such as 512M: rings, connections, rows that wait,\n"+
		"and 64M for the rest (default what --max-connections needs, at most half of the\nmachine, or three fourths of what a control group has)")
}

// memoryPlan is what conntap takes at most, bytes.
type memoryPlan struct {
	granted     uint64 // by machine or control group; 0: not known
	byGroup     bool
	total       uint64 // 0: without a bound
	rings       int    // for LiveConfig.RingBytes
	connections int    // for MaxConnections; 0: without a bound
	each        uint64 // that a connection takes at most
	backlog     int    // for rows that wait for the disk
}

// memoryWish is what the plan is to be made of; what the user did not say is 0.
type memoryWish struct {
	memory         uint64
	rings          int
	connections    int
	anyConnections bool                  // connections is what the user said
	backlog        int                   // the default, if the user said nothing
	anyBacklog     bool                  // backlog is what the user said
	each           uint64                // what a connection takes
	ringBytes      func(wish int) int    // what rings come to
	granted        func() (uint64, bool) // by whom
}

// planMemory shares out the memory.
func (f *runFlags) planMemory() (err error) {
	wish := memoryWish{memory: uint64(f.memory), rings: int(f.ringSize), granted: grantedMemory}
	config := f.tracking()
	wish.each = uint64(config.ConnectionBytes())
	if wish.anyConnections = f.settings.Given("max-connections"); wish.anyConnections {
		wish.connections = f.maxConnections
	}
	if f.dir != "" {
		wish.backlog, wish.anyBacklog = int(f.files.backlog), f.settings.Given("log-backlog")
	}
	wish.ringBytes = func(size int) int {
		_, bytes, ringError := collector.RingBytes(size)
		if ringError != nil && err == nil {
			err = fmt.Errorf("--ring-size: %w", ringError)
		}
		return bytes
	}
	plan, planError := wish.plan()
	if err != nil {
		return err
	}
	f.plan, f.maxConnections = plan, plan.connections
	if f.dir != "" {
		f.files.backlog = byteSize(plan.backlog)
	}
	return planError
}

// grantedMemory is what there is for this process: of the control group, if that is
// less than the machine has.
func grantedMemory() (bytes uint64, byGroup bool) {
	bytes = host.Memory()
	if limit := host.OwnGroup().MemoryLimit(); limit > 0 && (bytes == 0 || limit < bytes) {
		return limit, true
	}
	return bytes, false
}

// plan shares out what the user grants, else what the default limit of connections
// needs, and at most a share of what there is. Rings come first, up to their share, then
// connections.
func (w *memoryWish) plan() (p memoryPlan, err error) {
	p.granted, p.byGroup = w.granted()
	p.rings, p.backlog, p.each = w.ringBytes(w.rings), w.backlog, w.each
	total, most, tight := w.memory, w.memory/w.each, true
	if total == 0 {
		most = defaultMaxConnections
		total = p.fixed() + defaultMaxConnections*w.each
		if tight = p.granted > 0 && p.share() < total; tight {
			total = p.share()
		}
	}
	for tight && w.rings == 0 && uint64(p.rings) > total/ringShare {
		smaller := w.ringBytes(p.rings / 2)
		if smaller >= p.rings {
			break
		}
		p.rings = smaller
	}
	if tight && !w.anyBacklog {
		p.backlog = min(p.backlog, max(leastBacklog, int(total/backlogShare)))
	}
	if p.connections = w.connections; !w.anyConnections {
		taken := p.fixed()
		p.connections = max(leastMaxConnections, int(min(most, (max(total, taken)-taken)/w.each)))
	}
	if p.connections > 0 {
		p.total = p.fixed() + uint64(p.connections)*p.each
	}
	return p, w.contradiction(&p)
}

// share is how much of what there is conntap takes unasked: half of a machine, which is
// for others as well, three fourths of a control group.
func (p *memoryPlan) share() uint64 {
	if p.byGroup {
		return p.granted / 4 * 3
	}
	return p.granted / 2
}

// fixed is what is taken however many connections there are.
func (p *memoryPlan) fixed() uint64 { return ownBytes + uint64(p.rings) + uint64(p.backlog) }

// contradiction finds what does not go into the memory that the user grants.
func (w *memoryWish) contradiction(p *memoryPlan) error {
	switch {
	case w.memory == 0:
		return nil
	case w.anyConnections && w.connections == 0:
		return errors.New("--max-connections 0, without a limit, contradicts --memory")
	case p.total > w.memory:
		asked := byteSize(w.memory)
		return fmt.Errorf("--memory %s is too little: %s are needed, %s for the rings (--ring-size), %s for %s connections (--max-connections), "+
			"%s for rows that wait (--log-backlog), %s for the rest", &asked, screen.Memory(p.total+1<<20-1), screen.Memory(uint64(p.rings)),
			screen.Memory(uint64(p.connections)*p.each), screen.Count(uint64(p.connections)),
			screen.Memory(uint64(p.backlog)), screen.Memory(ownBytes))
	}
	return nil
}

// String is the plan in the words of the start line.
func (p *memoryPlan) String() string {
	rings := screen.Memory(uint64(p.rings)) + " rings"
	of := ""
	if p.granted > 0 {
		of = " of the machine's " + screen.Memory(p.granted)
		if p.byGroup {
			of = " of the control group's " + screen.Memory(p.granted)
		}
	}
	if p.total == 0 {
		return rings + ", connections without a limit" + of
	}
	whole := p.total + max(p.each, 1) - 1 // what is less than a connection is left over
	waiting := ""
	if p.backlog > 0 {
		waiting = screen.Memory(uint64(p.backlog)) + " for rows that wait for the disk, "
	}
	return fmt.Sprintf("up to %s%s: %s, %s for %s connections, %s%s for the rest", screen.Memory(whole), of, rings,
		screen.Memory(uint64(p.connections)*p.each), screen.Count(uint64(p.connections)), waiting, screen.Memory(ownBytes))
}

// warning says that there is not as much as the plan has; "" if there is.
func (p *memoryPlan) warning() string {
	if p.granted == 0 || p.total <= p.granted {
		return ""
	}
	return "memory: that is more than there is, and the kernel may end conntap: lower --memory, --max-connections or --ring-size"
}

// obtained puts in what the rings, which are there now, really take, and tells Go how
// much its heap may be. Connections have most of their memory outside of it. The
// user's GOMEMLIMIT goes before that.
func (p *memoryPlan) obtained(rings []collector.RingFill, shards int) {
	if len(rings) > 0 {
		p.total -= min(p.total, uint64(p.rings))
		p.rings = 0
		for _, r := range rings {
			p.rings += int(r.Size)
		}
		if p.connections > 0 {
			p.total += uint64(p.rings)
		}
	}
	if limit := p.heapLimit(shards); limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
}

// heapLimit is what Go's heap may take, 0 for no limit.
func (p *memoryPlan) heapLimit(shards int) int64 {
	if p.total == 0 {
		return 0
	}
	return ownBytes + int64(p.backlog) + int64(min(p.connections, shards*heapConnections))*int64(p.each)
}
