// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"conntap/tracker"
	"conntap/tracker/connlog"
)

// logFlags say what the log is of, what it looks like and where it goes; read and
// run share them.
type logFlags struct {
	trackFlags
	publishFlags
	rowFlags
	format, times choice
	profile       choice
	accountFlag
	with        choices
	fields      []string
	dir, tag    string
	local, near string
	quiet       bool
}

// register adds the flags. maxConnections and shards are the defaults of those.
func (f *logFlags) register(fs *pflag.FlagSet, maxConnections, shards int) {
	f.format.of = []string{"text", "tsv", "json", "red"}
	f.times.of = []string{"epoch", "millis", "iso8601"}
	f.with.of = []string{"mac", "vlan", "community-id", "rtt", "counters", "loss", "interface", "process", "history", "uid"}
	f.trackFlags.register(fs, maxConnections, shards)
	fs.Var(&f.format, "format", "how a connection becomes a line: text for people, tsv or json as in\n"+
		"Zeek's conn.log, red as in the classic one (default text on a terminal,\notherwise tsv)")
	fs.StringVar(&f.dir, "log-dir", "", "write `dir`/conn.log (red and text: red.TAG, text.TAG) instead of standard\n"+
		"output; an existing file is never overwritten")
	fs.Var(&f.with, "with", "add columns: mac, vlan, community-id (as in Zeek), rtt (of the handshake),\n"+
		"counters (what the letters T, G, W, C stand for), loss (packets that conntap\nlost meanwhile), interface (where the first packet came from),\nprocess (the local one that made it: pid, name, user, cgroup, container; live);\nto lines of red and text: history, uid")
	f.profile = choice{connlog.Zeek8.String(), []string{connlog.Zeek8.String(), connlog.Bro26.String()}}
	fs.Var(&f.profile, "profile", "whose conn.log tsv and json are: zeek-8 or bro-2.6")
	fs.StringSliceVar(&f.fields, "fields", nil, "only these columns of tsv or json, such as ts,id.orig_h,conn_state: `list`")
	fs.Var(&f.times, "time", "how json writes times: epoch, millis or iso8601 (default epoch)")
	fs.StringVar(&f.local, "local-nets", "", "your networks, beside the private ones, such as 198.51.100.0/24: `list`;\n"+
		"none leaves local_orig and local_resp unset")
	fs.StringVar(&f.near, "neighbor-nets", "", "networks whose connections red flags with U: `list`")
	f.publishFlags.register(fs)
	fs.StringVar(&f.tag, "tag", "", "`name` at the end of the names of red and text files\n(default HOST.YY-MM-DD_HH.MM.SS)")
	f.accountFlag.register(fs)
	f.rowFlags.register(fs)
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "no account, no hints, no status line")
	section(fs, "Log")
}

// check finds what the flags can't mean, and completes the defaults.
func (f *logFlags) check() error {
	if f.format.value == "" {
		f.format.value = "tsv"
		if f.dir == "" && isTerminal(os.Stdout) {
			f.format.value = "text"
		}
	}
	if f.tag == "" {
		f.tag = connlog.DefaultTag(hostname(), time.Now())
	}
	if strings.ContainsRune(f.tag, os.PathSeparator) {
		return fmt.Errorf("--tag %s: want a name without %c", f.tag, os.PathSeparator)
	}
	if err := f.trackFlags.check(); err != nil {
		return err
	}
	if err := f.publishFlags.check(); err != nil {
		return err
	}
	if err := f.rowFlags.check(f.dir); err != nil {
		return err
	}
	cfg, err := f.config()
	if err != nil {
		return err
	}
	_, err = connlog.NewWriter(io.Discard, cfg)
	return err
}

func hostname() string {
	host, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return host
}

// config is the log's configuration.
func (f *logFlags) config() (cfg connlog.Config, err error) {
	if cfg.Format, err = connlog.ParseFormat(f.format.value); err != nil {
		return cfg, err
	}
	if f.times.value != "" {
		if cfg.Time, err = connlog.ParseTimeFormat(f.times.value); err != nil {
			return cfg, err
		}
	}
	if cfg.Profile, err = connlog.ParseProfile(f.profile.value); err != nil {
		return cfg, err
	}
	cfg.KeyVLAN = f.keyVLAN()
	if cfg.With, err = connlog.ParseWith(f.with.String()); err != nil {
		return cfg, err
	}
	if cfg.NeighborNets, err = connlog.ParseNets(f.near); err != nil {
		return cfg, fmt.Errorf("--neighbor-nets: %w", err)
	}
	if cfg.NoLocalNets = f.local == "none"; !cfg.NoLocalNets {
		if cfg.LocalNets, err = connlog.ParseNets(f.local); err != nil {
			return cfg, fmt.Errorf("--local-nets: %w", err)
		}
	}
	cfg.Fields = f.fields
	cfg.Sensor, cfg.Anonymize = f.sensor, f.how
	cfg.Sample = uint32(f.sample)
	cfg.Terminal = f.dir == "" && isTerminal(os.Stdout)
	cfg.Color = cfg.Terminal && os.Getenv("NO_COLOR") == "" && !dumb()
	return cfg, nil
}

// open opens the logs where the flags say, the first one by create.
func (f *logFlags) open(create func(*output, string, connlog.Config) (*connlog.Writer, error)) (*connlog.Writer, *output, error) {
	if err := f.load(f.seed); err != nil {
		return nil, nil, err
	}
	cfg, err := f.config()
	if err != nil {
		return nil, nil, err
	}
	out := newOutput()
	log, err := create(out, connlog.FileName(cfg.Format, f.tag), cfg)
	if err == nil {
		err = f.rowFlags.open(out, f.dir, f.tag, cfg)
	}
	if err != nil {
		return nil, nil, errors.Join(err, out.Close())
	}
	return log, out, nil
}

// create makes the log's file, or takes standard output.
func (f *logFlags) create(out *output, name string, cfg connlog.Config) (*connlog.Writer, error) {
	if err := out.open(f.dir, name); err != nil {
		return nil, err
	}
	return connlog.NewWriter(out.rows, cfg)
}

// tracking is the tracker's configuration: what no column shows it need not keep.
func (f *logFlags) tracking() tracker.Config {
	chosen := len(f.fields) > 0
	cfg := f.trackFlags.tracking()
	cfg.LinkLayer = chosen || f.with.has("mac") || f.with.has("vlan")
	cfg.RoundTrips = chosen || f.with.has("rtt")
	cfg.LongConnections = f.longConnections
	cfg.Owners = f.wantsProcess()
	return cfg
}

// wantsInterface tells whether the log has the names of network interfaces.
func (f *logFlags) wantsInterface() bool {
	return f.with.has("interface") || slices.Contains(f.fields, "interface")
}

// wantsLinkLayer tells whether the log has anything of it.
func (f *logFlags) wantsLinkLayer() bool {
	return f.keyVLAN() || f.with.has("mac") || f.with.has("vlan") || slices.ContainsFunc(f.fields, func(name string) bool {
		return slices.Contains([]string{"vlan", "inner_vlan", "orig_l2_addr", "resp_l2_addr"}, name)
	})
}
