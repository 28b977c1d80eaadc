// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"

	"conntap/cmd/conntap/internal/screen"
	"conntap/cmd/conntap/internal/top"
	"conntap/collector"
	"conntap/tracker"
)

// topFlags are the flags of top.
type topFlags struct {
	captureFlags
	trackFlags
	accountFlag
}

func newTopCommand() *cobra.Command {
	f := &topFlags{}
	c := &cobra.Command{
		Use:   "top -i INTERFACE",
		Short: "Watch the connections on network interfaces in the terminal",
		Long: `Watch the connections on network interfaces in the terminal, live: rates, losses,
states, who sends most, and the connections that are open or have just ended, with
what their state and history mean. No log is written. Needs the same rights as run,
and gives the same account at the end.

  1 2 3 4, tab   open connections, logged ones, hosts, pairs of hosts
  s, S           sort by something else
  /              filter: words that must fit, such as 443, udp, S0, ssl, 10.0.0.5,
                 host:10.0., 10.0.0.0/8, !port:22; esc clears it
  up, down, ...  select; enter explains a connection, or lists those of a host
  p              pause the picture; the capture goes on
  q, Ctrl-C      quit

Colours follow NO_COLOR. Open connections are looked at once a second; a million of
them take some seconds, as packets come first.`,
		Example: `  sudo conntap top -i eth0
  sudo conntap top -i eth0 --filter 'not port 22'`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(c, fmt.Errorf("%q: top takes no argument; a packet filter goes into --filter '%s'", args[0], strings.Join(args, " ")))
			}
			if err := f.check(); err != nil {
				return usage(c, err)
			}
			if !c.Flags().Changed("seed") {
				f.seed = rand.Text()
			}
			return f.run()
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	f.captureFlags.register(fs)
	f.trackFlags.register(fs, defaultMaxConnections, runtime.GOMAXPROCS(0)-1)
	f.accountFlag.register(fs)
	return c
}

// check finds what the flags, or where the screen is to be, can't mean.
func (f *topFlags) check() error {
	if err := errors.Join(f.captureFlags.check(), f.trackFlags.check()); err != nil {
		return err
	}
	if !isTerminal(os.Stdin) || !isTerminal(os.Stdout) || dumb() {
		return errors.New("top draws on a terminal, and this is none: conntap run writes rows anywhere")
	}
	return nil
}

// run shows the connections of interfaces until the user or a signal ends it.
func (f *topFlags) run() error {
	if err := f.place(); err != nil {
		return err
	}
	live := f.live()
	live.NoTunnels, live.NoLinkLayer, live.Identity = !f.intoTunnels(), !f.keyVLAN(), f.dedup
	var said sentences
	live.Selection, live.Warn = f.selection(), said.add
	source, err := collector.Open(live)
	if err != nil {
		return err
	}
	config := f.tracking()
	config.GiveWay = f.giveWay()
	config.Parser.VerifyChecksums, config.Parser.PartialChecksums = f.verifyChecksums, true
	v := newViewing(source, config, f.shards)
	said.hold()
	v.dedup = f.newDedup()
	err = v.run(topTitle(source, f.announcements()))
	said.release()
	account := &screen.Account{
		Title:  "conntap: detached; " + screen.Plural(v.tracker.Stats().Closed[tracker.CauseEnd], "connection") + " still open",
		Frames: source.Stats(), Connections: v.tracker.Stats(), Gapped: v.gapped, Live: true, Full: f.full(),
		Hooks: source.HookStats(), Devices: source.DeviceDrops(), Rings: source.Rings(), Latency: source.Latency(),
		Sample: uint32(f.sample),
	}
	_, _ = account.WriteTo(os.Stderr)
	return err
}

// sentences are what a source says. While the screen is drawn they are kept for its end.
type sentences struct {
	mu   sync.Mutex
	held bool
	kept []string
}

const sentencesMost = 100 // kept; those after them are of no use any more

func (s *sentences) add(sentence string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.held {
		tell(sentence)
	} else if len(s.kept) < sentencesMost {
		s.kept = append(s.kept, sentence)
	}
}

func (s *sentences) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = true
}

func (s *sentences) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sentence := range s.kept {
		tell(sentence)
	}
	s.held, s.kept = false, nil
}

// topTitle says what is looked at.
func topTitle(source collector.LiveSource, selected []string) string {
	var parts []string
	for _, a := range source.Obtained() {
		var modes []string
		for _, direction := range []struct{ name, mode string }{{"in", a.Ingress}, {"out", a.Egress}} {
			if direction.mode != "" {
				modes = append(modes, direction.name+" "+direction.mode)
			}
		}
		parts = append(parts, a.Interface.Name+"  "+strings.Join(modes, ", "))
	}
	return strings.Join(append(parts, selected...), "; ")
}

// viewing is a capture and the screen that shows it.
type viewing struct {
	source  collector.LiveSource
	tracker *tracker.Shards
	watcher *top.Watcher
	dedup   *collector.Dedup
	gapped  uint64 // connections that lack payload; for the goroutine of the rows
}

func newViewing(source collector.LiveSource, config tracker.Config, shards int) *viewing {
	v := &viewing{source: source}
	v.watcher = top.NewWatcher(top.Capture{Sample: v.sample, Now: source.Now, Connections: func() iter.Seq[*tracker.Conn] {
		return v.tracker.Connections()
	}})
	v.tracker = tracker.NewShards(config, shards, v.log)
	return v
}

// log takes a connection that ended.
func (v *viewing) log(c *tracker.Conn) {
	if c.MissedBytes > 0 {
		v.gapped++
	}
	v.watcher.Log(c)
}

// sample takes a sample of the counters.
func (v *viewing) sample() top.Sample {
	frames := v.source.Stats()
	s := top.Sample{
		Time: time.Now(), Now: v.source.Now(), Seen: frames.Seen, Lost: frames.Lost, Connections: v.tracker.Stats(),
	}
	for _, ring := range v.source.Rings() {
		if ring.Size > 0 {
			s.RingUsed = max(s.RingUsed, float64(ring.Used)/float64(ring.Size))
			s.RingHighest = max(s.RingHighest, float64(ring.Highest)/float64(ring.Size))
		}
	}
	return s
}

// run shows the screen until somebody ends it or the source ends, then detaches and
// tracks what is left.
func (v *viewing) run(title string) error {
	// Its own handler leaves the terminal's reader behind when it is interrupted, and
	// waits forever if the screen ends just then.
	program := tea.NewProgram(top.NewScreen(title, v.watcher.Ask), tea.WithoutSignalHandler())
	signals := catchEnd()
	stop := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		v.watcher.WatchCounters(stop, func(f top.Figures, logged []top.Row) { program.Send(top.CountersMsg{Figures: f, Logged: logged}) })
	})
	work.Go(func() {
		v.watcher.WatchConnections(stop, func(p *top.Picture) { program.Send(top.PictureMsg{Picture: p}) })
	})
	var ended error
	tracked := make(chan struct{})
	go func() {
		defer close(tracked)
		ended = v.track()
		program.Quit()
	}()
	work.Go(func() {
		select {
		case <-signals: // as good as q
			program.Quit()
		case <-stop:
		}
	})
	_, err := program.Run()
	signal.Stop(signals) // the terminal is as it was: a further one may end what is left to do
	close(stop)
	err = errors.Join(err, v.source.Close())
	<-tracked
	v.tracker.Close()
	work.Wait()
	return errors.Join(err, ended, v.source.Close())
}

// track tracks batches until the source ends.
func (v *viewing) track() error {
	feed := newFeed(v.source, v.tracker, true, v.dedup)
	for b := range feed.full {
		if err := feed.track(b); err != nil {
			return sourceError(err)
		}
	}
	return nil
}
