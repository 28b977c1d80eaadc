// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	"conntap/cmd/conntap/internal/metrics"
	"conntap/collector"
)

// listen takes the address for metrics; nil if they are not asked for.
func (f *runFlags) listen() (*metrics.Server, error) {
	if f.metrics == "" {
		return nil, nil
	}
	server, err := metrics.Listen(f.metrics)
	if err != nil {
		return nil, fmt.Errorf("--metrics %s: %w", f.metrics, err)
	}
	return server, nil
}

// snapshot is what metrics are made of. It may be called from any goroutine.
func (f *runFlags) snapshot(p *pipeline, source collector.LiveSource) *metrics.Snapshot {
	return &metrics.Snapshot{
		Hooks: source.HookStats(), Devices: source.DeviceDrops(), Interfaces: source.Interfaces(), Rings: source.Rings(),
		Latency: source.Latency(), Late: source.Stats().Late,
		Connections: p.tracker.Stats(), MaxConnections: f.maxConnections, Sample: uint32(f.sample),
		Rows: p.rows.written.Load(), LogErrors: p.rows.unwritten.Load(), HeldBack: p.rows.limit.rows.Load(),
		Log: p.out.state(), Disturbances: p.disturbances(),
	}
}

// stuckAfter is how long the reader or the writer may stand still for /healthz: they
// come round several times a second.
const stuckAfter = 5 * time.Second

// healthy says what keeps the capture from working, nil if nothing does. It may be
// called from any goroutine.
func healthy(p *pipeline) error {
	if err := p.health.Stuck(stuckAfter); err != nil {
		return err
	}
	if err := p.rows.failing(); err != nil {
		return err
	}
	return p.out.state().Err
}
