// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"conntap/bpf"
	"conntap/collector"
	"conntap/tracker"
)

// trackFlags say which packets count and what is a connection; read, run and top
// share them.
type trackFlags struct {
	selectFlags
	key, tunnels   choice
	seed           string
	maxConnections int
	shards         int
	dedup          bool
}

// shardsMax is the highest default of --shards: beyond, whoever writes the log is
// busier than they are.
const shardsMax = 8

// register adds the flags. maxConnections and shards are the defaults of those.
func (f *trackFlags) register(fs *pflag.FlagSet, maxConnections, shards int) {
	f.selectFlags.register(fs)
	f.key = choice{"five-tuple", []string{"five-tuple", "vlan"}}
	fs.Var(&f.key, "key", "what tells connections apart: five-tuple, or vlan: that and both VLAN ids, in\n"+
		"the columns id.ctx.vlan and id.ctx.inner_vlan")
	f.tunnels = choice{"on", []string{"on", "off"}}
	fs.Var(&f.tunnels, "tunnels", "on: log the connections inside tunnels; off: the tunnels alone")
	fs.IntVar(&f.maxConnections, "max-connections", maxConnections, "how many to follow at a time, 0 for no limit; above it those that nobody\n"+
		"answered are logged early, then the longest idle")
	fs.IntVar(&f.shards, "shards", max(1, min(shards, shardsMax)), "track connections on so many goroutines; the log is the same for any\n"+
		"number (each has its share of --max-connections)")
	fs.BoolVar(&f.dedup, "dedup", false, "count a packet once that several interfaces or hooks have seen within 50 ms, as on a\n"+
		"bridge and its ports; of files, several files or the interfaces in a pcapng")
	fs.StringVar(&f.seed, "seed", "", "any `text`; the same over the same input makes the same uids")
	section(fs, "Connections")
}

// check finds what the flags can't mean.
func (f *trackFlags) check() error {
	if f.maxConnections < 0 {
		return fmt.Errorf("--max-connections %d: want 0 or more", f.maxConnections)
	}
	if f.shards < 1 || f.shards > 256 {
		return fmt.Errorf("--shards %d: want 1 to 256", f.shards)
	}
	return f.selectFlags.check()
}

// tracking is the tracker's configuration.
func (f *trackFlags) tracking() tracker.Config {
	return tracker.Config{
		MaxConnections: f.maxConnections,
		Seed:           f.seed,
		KeyVLAN:        f.keyVLAN(),
		TunnelFlows:    !f.intoTunnels(),
		Parser:         bpf.Parser{Tunnels: f.intoTunnels()},
		Sample:         uint32(f.sample),
	}
}

// newDedup is what finds duplicates, nil if they count.
func (f *trackFlags) newDedup() *collector.Dedup {
	if !f.dedup {
		return nil
	}
	return collector.NewDedup()
}

func (f *trackFlags) keyVLAN() bool { return f.key.value == "vlan" }

// intoTunnels tells whether to look inside tunnels.
func (f *trackFlags) intoTunnels() bool { return f.tunnels.value == "on" }
