// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"conntap/bpf/filter"
	"conntap/collector"
)

// selectFlags say which frames are recorded; read and run share them.
type selectFlags struct {
	filter string
	sample sampleRate

	parsed *filter.Filter // set by check; nil without a filter
}

func (f *selectFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.filter, "filter", "", "record only what matches an `expression` in pcap's words: host, net, port,\n"+
		"portrange, proto, tcp, udp, icmp, icmp6, ip, ip6, vlan, src, dst, and, or, not;\n"+
		"of a tunnel its outermost packet decides. Fragments pass whatever the ports")
	fs.Var(&f.sample, "sample", "record one connection in N, and all of it: `1/N`; chosen by a hash, the same\n"+
		"connections in every run")
	section(fs, "Packets")
}

// check understands the filter.
func (f *selectFlags) check() (err error) {
	if strings.TrimSpace(f.filter) == "" {
		return nil
	}
	if f.parsed, err = filter.Parse(f.filter); err != nil {
		return fmt.Errorf("--filter: %w", err)
	}
	return nil
}

// selection is what the sources go by.
func (f *selectFlags) selection() collector.Selection {
	return collector.Selection{Filter: f.parsed, Sample: uint32(f.sample)}
}

// announcements say what is left out.
func (f *selectFlags) announcements() (sentences []string) {
	if f.parsed != nil {
		sentences = append(sentences, "filter: "+f.parsed.String())
	}
	if f.sample > 1 {
		sentences = append(sentences, "sample: "+f.sample.String()+" of the connections, each complete")
	}
	return sentences
}

// sampleRate is a flag that takes a sample as 1/N; 0 and 1 are all.
type sampleRate uint32

func (r *sampleRate) String() string {
	if *r == 0 {
		return ""
	}
	return "1/" + strconv.FormatUint(uint64(*r), 10)
}

func (r *sampleRate) Type() string { return "1/N" }

// Set takes the flag's value from the command line.
func (r *sampleRate) Set(s string) error {
	one, n, found := strings.Cut(s, "/")
	of, err := strconv.ParseUint(n, 10, 32)
	if !found || one != "1" || err != nil || of == 0 {
		return errors.New("want 1/N, such as 1/10")
	}
	*r = sampleRate(of)
	return nil
}

var _ pflag.Value = (*sampleRate)(nil)
