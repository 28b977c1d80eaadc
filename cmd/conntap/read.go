// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"conntap/bpf"
	"conntap/cmd/conntap/internal/hints"
	"conntap/cmd/conntap/internal/screen"
	"conntap/collector"
)

// readFlags are the flags of read.
type readFlags struct {
	configFlags
	logFlags
	files           []string
	ignoreChecksums bool
	assumePayload   bool
}

func newReadCommand() *cobra.Command {
	f := &readFlags{}
	c := &cobra.Command{
		Use:   "read FILE...",
		Short: "Log the connections in capture files",
		Long: `Log the connections in capture files: pcap and pcapng, plain or compressed with
gzip or zstd. Several files are merged by time; of a directory all files below it
are read; - is standard input.

Rows go to standard output, the account and hints to standard error. The exit code
is 1 if anything could not be read: what could be is logged all the same. Ctrl-C
logs what was read so far and exits 0.`,
		Example: `  conntap read capture.pcap
  conntap read --format json capture.pcap | jq .conn_state
  conntap read --log-dir out --with mac,vlan,community-id /var/captures
  conntap read --filter 'host 10.0.0.1 and tcp port 443' capture.pcap
  tcpdump -i eth0 -w - | conntap read -
  conntap read -C capture.pcap         # captured on the sender: checksums not yet filled in`,
		RunE: func(c *cobra.Command, args []string) error {
			f.files = append(f.files, args...)
			if err := f.configure(c); err != nil {
				return usage(c, err)
			}
			if err := f.check(); err != nil {
				return usage(c, f.settings.Locate(err))
			}
			return read(f)
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	f.logFlags.register(fs, 0, runtime.GOMAXPROCS(0))
	f.configFlags.register(fs)
	section(fs, "Log")
	fs.BoolVar(&f.assumePayload, "assume-payload", false, "take packets that a snap length cut as captured whole")
	fs.BoolVarP(&f.ignoreChecksums, "ignore-checksums", "C", false, "take packets with a wrong checksum as sound")
	fs.StringArrayVarP(&f.files, "read", "r", nil, "capture `file`, the same as an argument")
	_ = fs.MarkHidden("read")
	section(fs, "Files")
	return c
}

// check finds what the flags and arguments can't mean.
func (f *readFlags) check() error {
	if len(f.files) == 0 {
		return errors.New("no capture file given")
	}
	for _, path := range f.files {
		if path != "-" && looksLikeFilter(path) {
			return fmt.Errorf("%q is no file; if it is a packet filter: --filter '%s'", path, path)
		}
	}
	if f.wantsProcess() {
		return errors.New("--with process is for run: a capture file says nothing of processes")
	}
	return f.logFlags.check()
}

// looksLikeFilter tells whether an argument is no file, but words as in a pcap
// expression.
func looksLikeFilter(arg string) bool {
	if _, err := os.Lstat(arg); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	switch word, rest, several := strings.Cut(arg, " "); word {
	case "tcp", "udp", "icmp", "icmp6", "ip", "ip6", "arp", "vlan":
		return true
	case "port", "host", "net", "portrange", "proto", "src", "dst", "not", "ether", "greater", "less":
		return several && rest != ""
	}
	return false
}

// read logs the connections of capture files.
func read(f *readFlags) error {
	log, out, err := f.open(f.create)
	if err != nil {
		return err
	}
	parser := bpf.Parser{
		Tunnels: f.intoTunnels(), AssumePayload: f.assumePayload,
		VerifyChecksums: !f.ignoreChecksums, IgnoreChecksums: f.ignoreChecksums,
	}
	source, err := collector.OpenFiles(f.files, collector.FileOptions{Parser: parser, Selection: f.selection()})
	if err != nil {
		return errors.Join(err, out.Close())
	}
	config := f.tracking()
	config.Parser = parser
	p := newPipeline(source, config, f.shards, log, out)
	p.quiet, p.dedup = f.quiet, f.newDedup()
	if f.wantsInterface() {
		p.rows.interfaceName = source.InterfaceName
	}
	p.lineText = func(p *pipeline) string { return progress(p, source) }
	err = p.run()
	if p.unread || f.quiet {
		return err
	}
	var summary collector.FileSummary
	if !p.blocked {
		summary = source.Summary()
	}
	account := &screen.Account{
		Title: f.title(p, summary), Size: summary.Size, Frames: p.source.Stats(),
		First: summary.First, Last: summary.Last,
		Connections: p.tracker.Stats(), Gapped: p.rows.gapped, Omitted: p.rows.log.Omitted(), Elapsed: time.Since(p.started),
		HeldRows: p.rows.limit.rows.Load(), HeldPackets: p.rows.limit.packets.Load(),
		Full:   f.full(),
		Sample: uint32(f.sample),
	}
	skipped := &account.Frames.Skipped
	p.rows.hints.SetFrames(hints.Frames{
		Seen: account.Frames.Seen, Cut: summary.Cut,
		BadHeaders: skipped[bpf.ReasonIPChecksum] + skipped[bpf.ReasonIPLength],
	})
	_, _ = account.WriteTo(os.Stderr)
	p.say(fewConns)
	return err
}

// title names the input in the account.
func (f *readFlags) title(p *pipeline, summary collector.FileSummary) string {
	title := f.files[0]
	switch {
	case title == "-":
		title = "standard input"
	case summary.Files > 1:
		title = screen.Plural(uint64(summary.Files), "file")
	}
	if p.stopped {
		title += ", interrupted"
	}
	return title
}

// progress is the text of the progress bar.
func progress(p *pipeline, source *collector.FileSource) string {
	done, total := source.Progress()
	return screen.Progress{
		Done: done, Total: total, Packets: source.Stats().Seen, Connections: p.logged(),
		Elapsed: time.Since(p.started),
	}.String()
}
