// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"runtime"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"conntap/bpf"
	"conntap/collector"
)

// exporter is the prometheus.Collector of the families.
type exporter struct {
	snapshot     func() *Snapshot
	descriptions []*prometheus.Desc // of families
	latency      *prometheus.Desc

	mu       sync.Mutex
	recorded map[hookCPU]uint64 // frames that a scrape has shown as recorded
}

type hookCPU struct {
	name string
	hook bpf.Hook
	cpu  int
}

const (
	latencyName = "conntap_latency_seconds"
	latencyHelp = "Seconds that packets took from their time stamp in the kernel until they were read, at most."
)

// newRegistry is a registry with all metrics of this process.
func newRegistry(version string, snapshot func() *Snapshot) *prometheus.Registry {
	e := &exporter{snapshot: snapshot, recorded: make(map[hookCPU]uint64), latency: prometheus.NewDesc(latencyName, latencyHelp, nil, nil)}
	for _, f := range families {
		e.descriptions = append(e.descriptions, prometheus.NewDesc(f.name, f.help, f.labels, nil))
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "conntap_build_info", Help: "1, with the version of conntap and of Go.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	registry := prometheus.NewRegistry()
	registry.MustRegister(e, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// Describe implements prometheus.Collector.
func (e *exporter) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range e.descriptions {
		descriptions <- d
	}
	descriptions <- e.latency
}

// Collect implements prometheus.Collector, by one snapshot.
func (e *exporter) Collect(metrics chan<- prometheus.Metric) {
	s := e.snapshot()
	e.keepUp(s)
	for i, f := range families {
		f.values(s, func(value float64, labels ...string) {
			metrics <- prometheus.MustNewConstMetric(e.descriptions[i], f.kind, value, labels...)
		})
	}
	metrics <- histogram(e.latency, &s.Latency)
}

// keepUp lets the frames recorded never become fewer, which Prometheus would take for
// a fresh start: a batch that finds no room takes its frames, some dozen, from the
// recorded to the lost.
func (e *exporter) keepUp(s *Snapshot) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s.Hooks = slices.Clone(s.Hooks)
	for i := range s.Hooks {
		h := &s.Hooks[i]
		key := hookCPU{h.Interface, h.Hook, h.CPU}
		h.Recorded = max(h.Recorded, e.recorded[key])
		e.recorded[key] = h.Recorded
	}
}

// histogram is a latency with its buckets as bounds; the last bucket has none.
func histogram(d *prometheus.Desc, l *collector.Latency) prometheus.Metric {
	var count uint64
	buckets := make(map[float64]uint64)
	for i, n := range l.Packets {
		count += n
		if i < collector.LatencyBuckets-1 {
			buckets[collector.LatencyBound(i).Seconds()] = count
		}
	}
	return prometheus.MustNewConstHistogram(d, count, l.Sum.Seconds(), buckets)
}
