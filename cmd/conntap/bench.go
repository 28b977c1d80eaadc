// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"conntap/cmd/conntap/internal/bench"
	"conntap/cmd/conntap/internal/screen"
	"conntap/collector"
)

// benchFlags are the flags of bench.
type benchFlags struct {
	bench.Config
	modes, transports choices
	rate              packetRate
	shards            int
	asJSON, generate  bool
	plot              string
}

func newBenchCommand() *cobra.Command {
	f := &benchFlags{}
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure live capture on this machine, and account for every packet",
		Long: `Measure live capture on this machine. Frames are made in the kernel at a chosen rate,
and go over a veth pair between two network namespaces of bench's own, which vanish
with it. Each way in is measured in turn, in several rounds, beside a program that
reads the clock and drops. So does xdp with what it has recorded (run --xdp-action
drop); the other ways pass it on to a stack that drops it. Every packet offered must
be logged, or counted where it was lost: if not, bench says so and exits with 1.

offered and logged are of the best round; lost is of all rounds together, as are
delay (from a packet's time stamp until it is read), and ring, the highest fill.
kernel is by the kernel's own statistics, in a run of its own, as they take time.
user is CPU time of conntap. lossless is the highest rate without any loss.

Producers have CPUs of their own, the last ones, where there are enough. Needs root
and Linux 5.18.`,
		Example: `  sudo conntap bench
  sudo conntap bench --modes xdp --packets 20M --rounds 7 --svg bench.svg
  sudo conntap bench --modes tcx --rate 1M --size 1514 --flows 1000000 --json
  sudo conntap bench --interface eth1 --duration 1m   # the traffic that there is`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.complete(c.Flags()); err != nil {
				return usage(c, err)
			}
			return f.run()
		},
	}
	f.register(c.Flags())
	return c
}

func (f *benchFlags) register(fs *pflag.FlagSet) {
	fs.SortFlags = false
	f.modes.of = words(bench.Captures)
	fs.Var(&f.modes, "modes", "ways in: "+strings.Join(f.modes.of, ", ")+" (default all)")
	f.transports.of = words(bench.Transports)
	fs.Var(&f.transports, "transports", "how records reach conntap: "+strings.Join(f.transports.of, ", ")+" (default all)")
	fs.IntVar(&f.Size, "size", bench.MinSize, fmt.Sprintf("bytes of a frame, without FCS: %d to %d", bench.MinSize, bench.MaxSize))
	fs.IntVar(&f.Flows, "flows", 10_000, "how many connections the frames belong to, in turn")
	fs.Var(&f.rate, "rate", "packets per second, such as 800k or 1.5M (default as many as can be made)")
	fs.Var((*packetCount)(&f.Packets), "packets", "packets of a run, such as 20M, in place of --duration")
	fs.DurationVar(&f.Duration, "duration", 3*time.Second, "how long a run takes")
	fs.IntVar(&f.Rounds, "rounds", 3, "how often each way in is measured")
	fs.IntVar(&f.Producers, "producers", 1, "how many CPUs make frames")
	fs.IntVar(&f.shards, "shards", max(1, min(runtime.GOMAXPROCS(0)-1, shardsMax)), "track connections on so many goroutines, as run does")
	fs.BoolVar(&f.Baseline, "baseline", true, "measure a program that only reads the clock and drops, too")
	fs.BoolVar(&f.Search, "lossless", true, "search for the highest rate without loss")
	fs.StringVarP(&f.Interface, "interface", "i", "", "measure on interface `name`, with the traffic that there is")
	fs.BoolVar(&f.asJSON, "json", false, "as a JSON object")
	fs.StringVar(&f.plot, "svg", "", "write a plot to `file` too")
	fs.BoolVar(&f.generate, "generate-only", false, "put the load on the veth interface of --interface, and measure nothing")
}

// complete finds what the flags can't mean, and fills in what they leave open.
func (f *benchFlags) complete(fs *pflag.FlagSet) error {
	for _, name := range f.modes.values {
		f.Captures = append(f.Captures, collector.Capture(name))
	}
	for _, name := range f.transports.values {
		f.Transports = append(f.Transports, collector.Transport(name))
	}
	f.Rate = float64(f.rate)
	f.Consume = func(source collector.Source) (bench.Consumed, error) { return consume(source, f.shards) }
	if f.generate && f.Interface == "" {
		return errors.New("--generate-only wants --interface, a veth interface")
	}
	if f.Interface != "" && !f.generate {
		return f.completeInterface(fs)
	}
	if len(f.Captures) == 0 {
		f.Captures = bench.Captures
	}
	if len(f.Transports) == 0 {
		f.Transports = bench.Transports
	}
	return f.checkLoad()
}

// completeInterface is complete for an interface that is measured as it is.
func (f *benchFlags) completeInterface(fs *pflag.FlagSet) error {
	for _, name := range []string{"size", "flows", "rate", "packets", "producers"} {
		if fs.Changed(name) {
			return fmt.Errorf("--%s is of frames that bench makes; on --interface it makes none", name)
		}
	}
	if len(f.Captures) == 0 {
		f.Captures = []collector.Capture{collector.CaptureAuto}
	}
	if len(f.Transports) == 0 {
		f.Transports = []collector.Transport{collector.TransportAuto}
	}
	if !fs.Changed("rounds") {
		f.Rounds = 1
	}
	f.Load = bench.Load{Duration: f.Duration}
	f.Baseline, f.Warn = false, tell
	return f.checkRuns()
}

func (f *benchFlags) checkLoad() error {
	switch {
	case f.Size < bench.MinSize || f.Size > bench.MaxSize:
		return fmt.Errorf("--size %d: want %d to %d", f.Size, bench.MinSize, bench.MaxSize)
	case f.Flows < 1 || f.Flows > bench.MaxFlows:
		return fmt.Errorf("--flows %d: want 1 to %d", f.Flows, bench.MaxFlows)
	case f.Producers < 1:
		return fmt.Errorf("--producers %d: want 1 or more", f.Producers)
	}
	return f.checkRuns()
}

func (f *benchFlags) checkRuns() error {
	switch {
	case f.Rounds < 1:
		return fmt.Errorf("--rounds %d: want 1 or more", f.Rounds)
	case f.shards < 1 || f.shards > 256:
		return fmt.Errorf("--shards %d: want 1 to 256", f.shards)
	case f.Duration <= 0:
		return fmt.Errorf("--duration %v: want more than 0", f.Duration)
	}
	return nil
}

// run measures and reports.
func (f *benchFlags) run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if f.generate {
		return f.runGenerator(ctx)
	}
	var line *screen.Line
	if isTerminal(os.Stderr) && !dumb() {
		line = screen.NewLine(os.Stderr, terminalWidth)
	}
	f.Progress = line.Show
	report, err := bench.Measure(ctx, f.Config)
	line.Erase()
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted; nothing of bench is left behind")
	}
	if err != nil {
		return err
	}
	if f.asJSON {
		err = writeJSON(report)
	} else {
		err = report.WriteTable(os.Stdout)
	}
	return errors.Join(err, f.writePlot(report), report.Failed(), report.Imbalance())
}

// runGenerator puts the load on an interface.
func (f *benchFlags) runGenerator(ctx context.Context) error {
	sent, err := bench.Generate(ctx, f.Load, f.Interface)
	if err != nil {
		return err
	}
	if f.asJSON {
		return writeJSON(sent)
	}
	_, err = fmt.Printf("%s in %.3g s, %s; %s refused %s\n", screen.Plural(sent.Frames, "frame"), sent.Seconds,
		screen.Rate(float64(sent.Frames)/sent.Seconds, "pps"), f.Interface, screen.Count(sent.Frames-sent.Taken))
	return err
}

func writeJSON(v any) error {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// writePlot writes the plot, if one was asked for.
func (f *benchFlags) writePlot(report *bench.Report) error {
	if f.plot == "" {
		return nil
	}
	var b strings.Builder
	if err := report.WritePlot(&b); err != nil {
		return err
	}
	if err := os.WriteFile(f.plot, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("writing the plot: %w", err)
	}
	return nil
}

// packetRate and packetCount are flags that take a number with a decimal unit:
// 800k, 1.5M, 2G.
type (
	packetRate  float64
	packetCount uint64
)

func (r *packetRate) String() string { return decimalText(float64(*r)) }
func (r *packetRate) Type() string   { return "number" }

// Set takes the flag's value from the command line.
func (r *packetRate) Set(s string) error {
	n, err := parseDecimal(s)
	*r = packetRate(n)
	return err
}

func (c *packetCount) String() string { return decimalText(float64(*c)) }
func (c *packetCount) Type() string   { return "number" }

// Set takes the flag's value from the command line.
func (c *packetCount) Set(s string) error {
	n, err := parseDecimal(s)
	*c = packetCount(n)
	return err
}

// decimalText is the text of a flag's default; 0 is none.
func decimalText(n float64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatFloat(n, 'f', -1, 64)
}

// parseDecimal reads a number above 0, at most 1T.
func parseDecimal(s string) (float64, error) {
	units := map[string]float64{"": 1, "k": 1e3, "m": 1e6, "g": 1e9}
	digits := strings.TrimRight(s, "kKmMgG")
	unit, known := units[strings.ToLower(s[len(digits):])]
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !known || !(n*unit >= 1 && n*unit <= 1e12) {
		return 0, errors.New("want a number such as 20000, 800k or 1.5M")
	}
	return n * unit, nil
}
