// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"conntap/bpf"
	"conntap/collector"
	"conntap/collector/host"
	"conntap/tracker"
)

// sample is a snapshot with something in every metric.
func sample() *Snapshot {
	s := &Snapshot{
		Devices: []collector.DeviceDrops{{Interface: "eth0", Dropped: 4, Missed: 5, FIFO: 6}},
		Rings:   []collector.RingFill{{CPU: -1, Used: 1, Highest: 2, Size: 4096}, {CPU: 1, Used: 3, Highest: 4, Size: 4096}},
		Late:    7, MaxConnections: 1000, Rows: 21, LogErrors: 2, HeldBack: 3,
	}
	for cpu := range 2 {
		h := collector.HookStats{Interface: "eth0", Hook: bpf.HookXDP, CPU: cpu}
		h.Seen, h.Recorded, h.Filtered, h.Lost = 100, 60, 20, 15
		h.Skipped[bpf.ReasonARP] = 5
		s.Hooks = append(s.Hooks, h)
	}
	s.Latency.Packets[3], s.Latency.Packets[collector.LatencyBuckets-1] = 8, 1
	s.Latency.Longest, s.Latency.Sum = time.Minute, 90*time.Second
	s.Log.Dropped, s.Log.Waiting, s.Log.Limit, s.Log.Err = 3, 4, 5, io.ErrShortWrite
	s.Disturbances = host.Disturbances{
		ForwardSteps: 1, Forward: time.Hour, Suspends: 2, Suspended: 3 * time.Second,
		Throttling: host.Throttling{Periods: 4, Time: 5 * time.Second},
	}
	c := &s.Connections
	c.Records, c.Joined, c.Notes, c.Packets, c.Counted, c.Fragments = 30, 1, 2, 29, 20, 9
	c.Datagrams, c.Unreadable, c.Incomplete = 3, 1, 1
	c.Opened, c.Open, c.Interim = 23, 2, 4
	c.Closed[tracker.CauseEnd] = 21
	c.Logged[tracker.TransportTCP][tracker.SF], c.Logged[tracker.TransportICMP][tracker.OTH] = 20, 1
	return s
}

// TestNames holds the names against Prometheus's rules, and the labels against a list
// of those with few values.
func TestNames(t *testing.T) {
	registry := newRegistry("1.2.3", sample)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	bounded := []string{"interface", "hook", "cpu", "reason", "counter", "outcome", "cause", "proto", "state", "change", "direction"}
	for _, f := range families {
		for _, label := range f.labels {
			if !slices.Contains(bounded, label) {
				t.Errorf("%s: is the number of values of %s bounded?", f.name, label)
			}
		}
		if !strings.HasSuffix(f.help, ".") {
			t.Errorf("%s: want a sentence for help, got %q", f.name, f.help)
		}
	}
}

// TestReadme keeps the README's table of metrics complete.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{latencyName, "conntap_build_info"}
	for _, f := range families {
		names = append(names, f.name)
	}
	for _, name := range names {
		if !strings.Contains(string(readme), "`"+name+"`") {
			t.Errorf("the README does not mention %s", name)
		}
	}
}

// TestValues checks values of every kind, by what a scrape gets.
func TestValues(t *testing.T) {
	server, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server.Serve("1.2.3", sample, func() error { return nil })
	text := get(t, server.URL(), http.StatusOK)
	for _, want := range []string{
		`conntap_build_info{goversion="go`,
		`conntap_frames_seen_total{cpu="1",hook="xdp",interface="eth0"} 100`,
		`conntap_frames_recorded_total{hook="xdp",interface="eth0"} 120`,
		`conntap_frames_filtered_total{hook="xdp",interface="eth0"} 40`,
		`conntap_frames_skipped_total{hook="xdp",interface="eth0",reason="arp"} 10`,
		`conntap_frames_skipped_total{hook="xdp",interface="eth0",reason="lldp"} 0`,
		`conntap_frames_lost_total{cpu="0",hook="xdp",interface="eth0",reason="ring"} 15`,
		`conntap_interface_dropped_frames_total{counter="rx_missed_errors",interface="eth0"} 5`,
		`conntap_ring_used_bytes{cpu="all"} 1`,
		`conntap_ring_highest_bytes{cpu="1"} 4`,
		`conntap_packets_late_total 7`,
		`conntap_latency_seconds_bucket{le="8e-06"} 8`,
		`conntap_latency_seconds_bucket{le="+Inf"} 9`,
		`conntap_latency_seconds_sum 90`,
		`conntap_records_total 30`,
		`conntap_packets_total{outcome="counted"} 20`,
		`conntap_datagrams_total{outcome="joined"} 2`,
		`conntap_connections_open 2`,
		`conntap_connections_limit 1000`,
		`conntap_connections_closed_total{cause="end"} 21`,
		`conntap_connections_logged_total{proto="tcp",state="SF"} 20`,
		`conntap_connections_logged_total{proto="udp",state="S0"} 0`,
		`conntap_connections_logged_total{proto="icmp",state="OTH"} 1`,
		`conntap_log_rows_total 21`,
		`conntap_log_errors_total 2`,
		`conntap_log_rows_dropped_total 3`,
		`conntap_log_backlog_bytes 4`,
		`conntap_log_backlog_limit_bytes 5`,
		`conntap_log_writable 0`,
		`conntap_log_held_back_total 3`,
		`conntap_interim_records_total 4`,
		`conntap_clock_steps_total{direction="forward"} 1`,
		`conntap_clock_steps_total{direction="back"} 0`,
		`conntap_clock_stepped_seconds_total{direction="forward"} 3600`,
		`conntap_suspends_total 2`,
		`conntap_suspended_seconds_total 3`,
		`conntap_cpu_throttled_periods_total 4`,
		`conntap_cpu_throttled_seconds_total 5`,
		`go_goroutines `,
		`process_open_fds `,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("want a line %s, got\n%s", want, text)
		}
	}
	if strings.Contains(text, `proto="icmp",state="SF"`) {
		t.Error("want no state that can't be")
	}
	get(t, strings.TrimSuffix(server.URL(), "metrics")+"favicon.ico", http.StatusNotFound)
	if err := server.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	if _, err := http.Get(server.URL()); err == nil {
		t.Error("still there after Close")
	}
}

// get is the body of an answer of this status.
func get(t *testing.T, url string, status int) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != status {
		t.Errorf("%s: want status %d, got %s, %v", url, status, answer.Status, err)
	}
	return string(body)
}

// TestBalance checks that the sums by which an operator checks the account hold for
// what is scraped.
func TestBalance(t *testing.T) {
	gathered, err := newRegistry("", sample).Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]float64{}
	for _, f := range gathered {
		for _, m := range f.Metric {
			sums[strings.TrimPrefix(f.GetName(), "conntap_")] += m.GetCounter().GetValue()
		}
	}
	left := sums["frames_seen_total"]
	if sum := sums["frames_recorded_total"] + sums["frames_filtered_total"] + sums["frames_skipped_total"] + sums["frames_lost_total"]; left != sum || left == 0 {
		t.Errorf("frames: want %v, got the sum %v", left, sum)
	}
	left = sums["records_total"] + sums["packets_joined_total"]
	if sum := sums["packets_total"] + sums["notes_total"]; left != sum || left == 0 {
		t.Errorf("records: want %v, got the sum %v", left, sum)
	}
}

// TestRecordedNeverFalls: frames that are found to be lost later are not taken off.
func TestRecordedNeverFalls(t *testing.T) {
	hooks := sample().Hooks
	registry := newRegistry("", func() *Snapshot { return &Snapshot{Hooks: hooks} })
	for _, tt := range []struct{ recorded, want uint64 }{{60, 120}, {50, 120}, {61, 121}} {
		hooks[1].Recorded = tt.recorded
		gathered, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range gathered {
			if f.GetName() == "conntap_frames_recorded_total" && f.Metric[0].GetCounter().GetValue() != float64(tt.want) {
				t.Errorf("%d recorded: want %d, got %v", tt.recorded, tt.want, f.Metric[0].GetCounter().GetValue())
			}
		}
		if hooks[1].Recorded != tt.recorded {
			t.Errorf("the rows of the source were changed: want %d, got %d", tt.recorded, hooks[1].Recorded)
		}
	}
}

func TestListen(t *testing.T) {
	tests := []struct {
		address  string
		loopback bool
		err      string
	}{
		{":0", true, ""},
		{"127.0.0.1:0", true, ""},
		{"0.0.0.0:0", false, ""},
		{"9090", false, `"9090": want :PORT for the loopback, or ADDRESS:PORT`},
		{":http", false, `":http": want a port from 0 to 65535, got "http"`},
		{":65536", false, `":65536": want a port from 0 to 65535, got "65536"`},
		{"192.0.2.77:9090", false, "choose another address or port"}, // TEST-NET, nobody's
	}
	for _, tt := range tests {
		server, err := Listen(tt.address)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: want the error %s, got %v", tt.address, tt.err, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.address, err)
			continue
		}
		if host := server.listener.Addr().(*net.TCPAddr).IP; host.IsLoopback() != tt.loopback {
			t.Errorf("%s: want the loopback: %t, got %s", tt.address, tt.loopback, host)
		}
		if err := server.Close(); err != nil { // without Serve
			t.Errorf("%s: closing: %v", tt.address, err)
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	if _, err := Listen(":" + port); err == nil || !strings.Contains(err.Error(), "address already in use: choose another") {
		t.Errorf("want an error that says what to do, got %v", err)
	}
}

// TestNoServer: without an address there is none.
func TestNoServer(t *testing.T) {
	var server *Server
	server.Serve("", nil, nil)
	if err := server.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkScrape is what a scrape takes of CPU, without HTTP.
func BenchmarkScrape(b *testing.B) {
	registry := newRegistry("", sample)
	for b.Loop() {
		if _, err := prometheus.Gatherer(registry).Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
