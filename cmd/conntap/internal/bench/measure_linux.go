// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conntap/cmd/conntap/internal/affinity"
)

const (
	searchSteps = 5               // of halving: to 3 % of the rate at which all are made
	shortRun    = 1 * time.Second // of a search's step, and of the pass with statistics
)

// bench measures.
type bench struct {
	config Config
	report *Report
	cable  *cable // nil for an interface that is measured as it is
}

// Measure measures what the configuration says. Interrupted by the context, it
// takes everything down and returns the context's error. It keeps the process to
// some CPUs for good.
func Measure(ctx context.Context, c Config) (*Report, error) {
	b := &bench{config: c, report: &Report{Interface: c.Interface, Load: c.Load, Rounds: c.Rounds}}
	if b.config.Progress == nil {
		b.config.Progress = func(string) {}
	}
	var err error
	if b.report.Machine, err = thisMachine(); err != nil {
		return nil, err
	}
	if c.Interface == "" {
		if err := b.build(); err != nil {
			return nil, err
		}
		defer b.cable.close()
	} else if b.report.ConsumerCPUs, err = affinity.Allowed(); err != nil {
		return nil, err
	}
	return b.report, b.measureAll(ctx)
}

// build makes the cable, and places threads.
func (b *bench) build() (err error) {
	load := b.config.Load
	if b.report.ProducerCPUs, b.report.ConsumerCPUs, err = placeThreads(load.Producers); err != nil {
		return err
	}
	b.cable, err = newCable(load.Producers, max(load.Size-ethernetLength, leastMTU))
	return err
}

// leastMTU is that of most interfaces.
const leastMTU = 1500

// run is one run of a subject under the load, or beside the traffic that there is.
func (b *bench) run(ctx context.Context, s subject, load Load, kernelTime bool) (*result, error) {
	if b.cable == nil {
		return b.runInterface(ctx, s, load, kernelTime)
	}
	return b.runCable(ctx, s, load, kernelTime)
}

// measureAll measures every subject in every round, then what takes passes of its
// own. What can't be measured is left out from then on.
func (b *bench) measureAll(ctx context.Context) error {
	rows := b.config.subjects()
	for round := range b.config.Rounds {
		for i := range rows {
			b.config.Progress(fmt.Sprintf("round %d of %d: %s", round+1, b.config.Rounds, rows[i].subject))
			err := rows[i].measure(func(s subject) (*result, error) { return b.run(ctx, s, b.config.Load, false) })
			if err != nil {
				return err
			}
		}
	}
	for i := range rows {
		row := rows[i].row()
		if row.Error == "" {
			if err := b.addPasses(ctx, rows[i].subject, &row); err != nil {
				return err
			}
		}
		b.report.Rows = append(b.report.Rows, row)
	}
	return b.report.nothing()
}

// String is the subject in messages.
func (s subject) String() string { return subjectName(s.name, s.transport) }

// addPasses adds what can't be measured together with the rest: time in the
// kernel, whose measuring takes time, and the rate at which nothing is lost.
func (b *bench) addPasses(ctx context.Context, s subject, row *Row) error {
	b.config.Progress("time in the kernel: " + s.String())
	load := b.shortLoad(row.OfferedRate)
	timed, err := b.run(ctx, s, load, true)
	if err != nil {
		return err
	}
	row.KernelNS = timed.kernelNS
	row.Missing += timed.missing(s)
	if s.name == baselineName || b.cable == nil || !b.config.Search {
		return nil
	}
	if row.Account.Lost.Total() == 0 {
		row.LosslessRate = row.OfferedRate
		return nil
	}
	return b.search(ctx, s, row)
}

// shortLoad is the load for a short run at about the rate.
func (b *bench) shortLoad(rate float64) Load {
	load := b.config.Load
	if load.Packets == 0 {
		load.Duration = min(load.Duration, shortRun)
		return load
	}
	load.Packets = min(load.Packets, max(uint64(rate*shortRun.Seconds()), 1))
	return load
}

// search halves the range of rates in which the highest one without loss lies.
func (b *bench) search(ctx context.Context, s subject, row *Row) error {
	low, high := 0.0, row.OfferedRate
	for step := range searchSteps {
		b.config.Progress(fmt.Sprintf("highest lossless rate: %s, step %d of %d", s, step+1, searchSteps))
		load := b.shortLoad(row.OfferedRate)
		load.Rate = (low + high) / 2
		r, err := b.run(ctx, s, load, false)
		if err != nil {
			return err
		}
		row.Missing += r.missing(s)
		if r.account.Lost.Total() > 0 {
			high = load.Rate
			continue
		}
		low, row.LosslessRate = load.Rate, max(row.LosslessRate, r.offeredRate())
	}
	return nil
}

// rowMaker makes a row of the rounds' results.
type rowMaker struct {
	subject
	made    Row
	latency histogram
	rounds  int
	failed  error // nothing more is measured
}

// measure adds the result of run, unless a run before failed. Its error is that of
// an interruption, which is nobody's failure.
func (m *rowMaker) measure(run func(subject) (*result, error)) error {
	if m.failed != nil {
		return nil
	}
	r, err := run(m.subject)
	if err == nil {
		m.add(r)
	} else if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	m.failed = err
	return nil
}

func (m *rowMaker) add(r *result) {
	row := &m.made
	row.Account.add(&r.account)
	row.Missing += r.missing(m.subject)
	m.latency.merge(&r.latency)
	row.RingFill, row.PauseNS = max(row.RingFill, r.ringFill), max(row.PauseNS, r.pause)
	row.Steal += r.steal
	if r.account.Logged == 0 { // the baseline
		row.OfferedRate = max(row.OfferedRate, r.offeredRate())
	} else if rate := r.loggedRate(); rate > row.LoggedRate {
		row.LoggedRate, row.OfferedRate = rate, r.offeredRate()
	}
	if r.records > 0 {
		user := float64(r.usage.user.Nanoseconds()) / float64(r.records)
		if m.rounds == 0 || user < row.UserNS {
			row.UserNS, row.SystemNS = user, float64(r.usage.system.Nanoseconds())/float64(r.records)
		}
	}
	m.rounds++
}

func (m *rowMaker) row() Row {
	row := m.made
	row.Name, row.Transport = m.name, m.transport
	if m.failed != nil {
		return Row{Name: m.name, Transport: m.transport, Error: m.failed.Error()}
	}
	row.Latency = m.latency.latency()
	row.Steal /= float64(m.rounds)
	return row
}
