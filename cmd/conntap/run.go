// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"conntap/cmd/conntap/internal/metrics"
	"conntap/cmd/conntap/internal/notify"
	"conntap/cmd/conntap/internal/screen"
	"conntap/collector"
	"conntap/tracker"
	"conntap/tracker/connlog"
)

// runFlags are the flags of run.
type runFlags struct {
	configFlags
	logFlags
	captureFlags
	files fileFlags
	memoryFlags
	sandbox sandboxFlags
	metrics string // address; "" for none
}

func newRunCommand() *cobra.Command {
	c, _ := runCommand()
	return c
}

// runCommand is the command run, with its flags, which it fills.
func runCommand() (*cobra.Command, *runFlags) {
	f := &runFlags{}
	c := &cobra.Command{
		Use:   "run -i INTERFACE",
		Short: "Log the connections on network interfaces, live",
		Long: `Log the connections on network interfaces, live, until Ctrl-C or SIGTERM: then the
programs are detached, open connections logged, and an account is given. Needs root,
or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON. Packets are never changed or delayed, nor
dropped but by --xdp-action drop.

An interface with an address of its own is captured in both directions, one without
is taken for a mirror port: incoming packets only, promiscuous.

A row appears when its connection is over: of TCP 5 s after the close, of UDP and
ICMP after 60 s of silence (DNS: 10 to 20 s).`,
		Example: `  sudo conntap run -i eth0
  sudo conntap run -i eth0 --log-dir /var/log/conntap --with mac,vlan,community-id
  sudo conntap run -i tap0 -i tap1     # a TAP with one direction per port
  sudo conntap run --all -i '!docker*' --with interface
  sudo conntap run -i eth0 --netns 4711     # of the container that process 4711 is in
  sudo conntap run -i eth0 --filter 'not port 22' --sample 1/10
  sudo conntap run -i mirror0 --capture xdp --xdp-action drop
  sudo conntap run --config /etc/conntap/conntap.toml
  sudo conntap run -i eth0 --format json | jq 'select(.conn_state == "REJ")'`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(c, fmt.Errorf("%q: run takes no argument; a packet filter goes into --filter '%s'", args[0], strings.Join(args, " ")))
			}
			if err := f.complete(c); err != nil {
				return usage(c, err)
			}
			if !c.Flags().Changed("seed") {
				f.seed = rand.Text()
			}
			return run(f)
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	f.captureFlags.register(fs)
	f.logFlags.register(fs, defaultMaxConnections, runtime.GOMAXPROCS(0)-1)
	f.files.register(fs)
	fs.StringVar(&f.metrics, "metrics", "", "serve metrics to Prometheus: `address` as :9090, on the loopback, or HOST:PORT")
	f.memoryFlags.register(fs)
	f.sandbox.register(fs)
	f.configFlags.register(fs)
	section(fs, "Service")
	return c, f
}

// complete takes what the command line of c leaves out from the configuration, and
// finds what all of it can't mean.
func (f *runFlags) complete(c *cobra.Command) error {
	if err := f.configure(c); err != nil {
		return err
	}
	return f.settings.Locate(f.check())
}

// check finds what the flags can't mean.
func (f *runFlags) check() error {
	if err := f.captureFlags.check(); err != nil {
		return err
	}
	if f.metrics != "" {
		if err := metrics.CheckAddress(f.metrics); err != nil {
			return fmt.Errorf("--metrics %w", err)
		}
	}
	if err := f.files.check(f.dir); err != nil {
		return err
	}
	if f.tag == "" && f.files.rotates() {
		f.tag = hostname() // the names of rotated files have the time
	}
	if f.wantsProcess() && f.capture.value == string(collector.CaptureAFPacket) {
		return errors.New("--with process takes BPF: --capture afpacket knows no processes")
	}
	if err := f.logFlags.check(); err != nil {
		return err
	}
	return f.planMemory()
}

// run logs the connections of interfaces until a signal ends it.
func run(f *runFlags) (err error) {
	server, err := f.listen()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	service, err := notify.Open()
	if err != nil {
		return err
	}
	defer service.Close()
	if err := f.place(); err != nil {
		return err
	}
	hangups := f.catchHangups()
	log, out, err := f.open(f.create)
	if err != nil {
		return err
	}
	var running atomic.Pointer[pipeline]
	source, err := collector.Open(f.wishes(func(sentence string) { running.Load().tell(sentence) }))
	if err != nil {
		return errors.Join(err, out.Close())
	}
	f.plan.obtained(source.Rings(), f.shards)
	if out.confined, err = f.confine(source); err != nil {
		return errors.Join(err, source.Close(), source.Close(), out.Close())
	}
	signals := catchEnd() // whoever reads that it captures may end it
	f.announce(source, server)
	p := f.pipeline(source, log, out)
	p.signals, p.hangups = signals, hangups
	running.Store(p)
	server.Serve(thisBuild().Version, func() *metrics.Snapshot { return f.snapshot(p, source) },
		func() error { return healthy(p) })
	p.service = service
	p.service.Watch(p.health.Stuck)
	if err := p.service.Ready("capturing"); err != nil {
		tell(err.Error())
	}
	err = p.run()
	if p.unread || p.quiet {
		return err
	}
	_, _ = f.accountOf(p, source, err).WriteTo(os.Stderr)
	p.say(fewConns)
	return err
}

// wishes are what is to be captured, and how. What the source has to say goes to warn.
func (f *runFlags) wishes(warn func(sentence string)) collector.LiveConfig {
	live := f.live()
	live.RingBytes, live.WallClock = f.plan.rings, wallClock
	live.NoTunnels, live.NoLinkLayer, live.Identity = !f.intoTunnels(), !f.wantsLinkLayer(), f.dedup
	live.Owners = f.wantsProcess()
	live.HideAddresses = f.anonymize != ""
	live.Selection, live.Warn = f.selection(), warn
	return live
}

// pipeline connects the source to the log, with what the columns ask the source for.
func (f *runFlags) pipeline(source collector.LiveSource, log *connlog.Writer, out *output) *pipeline {
	config := f.tracking()
	config.Parser.VerifyChecksums, config.Parser.PartialChecksums = f.verifyChecksums, true
	config.GiveWay = f.giveWay()
	p := newPipeline(source, config, f.shards, log, out)
	p.rows.giveWay = config.GiveWay
	p.live, p.quiet, p.watch, p.dedup = true, f.quiet, newWatcher(), f.newDedup()
	if f.with.has("loss") || slices.Contains(f.fields, "lost_records") {
		p.rows.lost = source.LostBetween
	}
	if f.wantsInterface() {
		p.rows.interfaceName = source.InterfaceName
	}
	if f.wantsProcess() {
		p.rows.cgroupPath = source.CgroupPath
	}
	p.lineText = (&meter{at: p.started}).text
	if f.settings.Path() != "" {
		p.reload = func() { f.reload(p) }
	}
	return p
}

// accountOf is the account of a capture that ended with err.
func (f *runFlags) accountOf(p *pipeline, source collector.LiveSource, err error) *screen.Account {
	title := "conntap: detached"
	if err == nil {
		title += "; " + screen.Plural(p.tracker.Stats().Closed[tracker.CauseEnd], "open connection") + " written"
	}
	return &screen.Account{
		Title: title, Frames: p.source.Stats(), Connections: p.tracker.Stats(), Gapped: p.rows.gapped,
		Omitted: p.rows.log.Omitted(), Dropped: p.out.state().Dropped, Live: true, Full: f.full(),
		HeldRows: p.rows.limit.rows.Load(), HeldPackets: p.rows.limit.packets.Load(),
		Hooks: source.HookStats(), Devices: source.DeviceDrops(), Rings: source.Rings(), Latency: source.Latency(),
		Sample: uint32(f.sample), Disturbances: p.disturbances(),
	}
}

// announce says what was obtained and when rows are to be expected.
func (f *runFlags) announce(source collector.LiveSource, server *metrics.Server) {
	if f.quiet {
		return
	}
	for _, a := range source.Obtained() {
		tell(a.String())
	}
	for _, sentence := range f.announcements() {
		tell(sentence)
	}
	tell("memory: " + f.plan.String())
	if warning := f.plan.warning(); warning != "" {
		tell(warning)
	}
	tell("tcp rows appear 5 s after the close, udp and icmp rows after 60 s of silence (dns: 10 to 20 s); open ones at Ctrl-C")
	if server != nil {
		tell("metrics: " + server.URL())
	}
}

// meter derives rates from two looks at the counters.
type meter struct {
	at            time.Time
	seen, ipBytes uint64
}

// text is the status line.
func (m *meter) text(p *pipeline) string {
	now, frames := time.Now(), p.source.Stats()
	seconds := now.Sub(m.at).Seconds()
	status := screen.Status{
		PacketRate: float64(frames.Seen-m.seen) / seconds,
		BitRate:    float64(p.tracker.Stats().IPBytes-m.ipBytes) * 8 / seconds,
		Open:       p.tracker.Stats().Open,
		Logged:     p.logged(),
		Lost:       frames.Lost,
		Held:       p.rows.limit.rows.Load(),
	}
	*m = meter{now, frames.Seen, p.tracker.Stats().IPBytes}
	return status.String()
}
