// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// apart is between packets that are to stand in batches of their own.
const apart = 100 * time.Millisecond

// TestAccountOfLoss loses packets of which every one must be accounted for: conntap is
// stopped while more come than its ring holds. The rows, the final account and the
// metrics must agree to the packet, and rows must say what was lost while their
// connections lived.
func TestAccountOfLoss(t *testing.T) {
	tests := []struct{ name, flag, value string }{
		{"batched", "--transport", "auto"},
		{"per packet", "--transport", "per-packet"},
		{"AF_PACKET", "--capture", "afpacket"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { testAccountOfLoss(t, tt.flag, tt.value) })
	}
}

func testAccountOfLoss(t *testing.T, flag, value string) {
	near, far := twoHosts(t)
	time.Sleep(settled)
	run, stdout, messages := startRun(t, near, flag, value, "--metrics", ":0", "--ring-size", "64K", "--format", "json",
		"--with", "loss", "--account", "full", "--filter", "not port 7")
	rows := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(stdout)
		rows <- all
	}()
	address := metricsAddress(t, messages)

	burst := burstOf(t, far)
	burst.send(t, 1, 1)
	burst.send(t, 7, 5) // filtered
	burst.sendNothing(t, 3)
	scrapeQuiet(t, near, address, burst.sent) // AF_PACKET: what was lost is known by reads
	time.Sleep(apart)
	burst.send(t, 2, 1)
	must(t, run.Process.Signal(unix.SIGSTOP))
	burst.send(t, 3, 20_000)
	time.Sleep(apart) // the last batch, which nobody has filled, is lost too, and no scrape sees it before
	must(t, run.Process.Signal(unix.SIGCONT))
	scraped := scrapeQuiet(t, near, address, burst.sent)
	time.Sleep(apart) // two more reads give the ring back, all of which AF_PACKET may still hold
	burst.send(t, 2, 1)
	time.Sleep(apart)
	burst.send(t, 4, 1)
	final := scrapeQuiet(t, near, address, burst.sent)

	must(t, run.Process.Signal(os.Interrupt))
	account, err := io.ReadAll(messages)
	must(t, err)
	log := connectionsByPort(t, <-rows)
	must(t, run.Wait())

	lost := final.sum("frames_lost_total")
	if lost == 0 || lost != scraped.sum("frames_lost_total") {
		t.Fatalf("want packets lost while conntap was stopped, and none after, got %d, then %d", scraped.sum("frames_lost_total"), lost)
	}
	final.checkBalance(t)
	checkFullAccount(t, string(account), final)
	var counted uint64
	for _, row := range log {
		counted += row.Packets
	}
	seen, filtered, skipped := final.sum("frames_seen_total"), final.sum("frames_filtered_total"), final.sum("frames_skipped_total")
	if counted+filtered+skipped+lost != seen || seen < burst.sent || filtered != 5 || skipped < 3 {
		t.Errorf("want %d frames, %d of them sent, 5 filtered and 3 skipped, got %d in rows, %d filtered, %d skipped and %d lost",
			seen, burst.sent, counted, filtered, skipped, lost)
	}
	for port, want := range map[uint16]uint64{1: 0, 2: lost, 4: 0} {
		if got := log[port].Lost; got != want {
			t.Errorf("flow %d: want %d lost while it lived, got %d", port, want, got)
		}
	}
}

// burst sends UDP packets that are for nobody, so that nothing is sent back, on one
// CPU: what another loses is known less exactly.
type burst struct {
	injector *injector
	from     *namespace
	sent     uint64
}

func burstOf(t *testing.T, from *namespace) *burst {
	t.Helper()
	b := &burst{from: from}
	from.do(t, func() (err error) {
		b.injector, err = newInjector("far")
		return errors.Join(err, pinThread())
	})
	t.Cleanup(b.injector.close)
	return b
}

// pinThread keeps the calling thread on the first of its CPUs.
func pinThread() error {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	cpu := 0
	for !all.IsSet(cpu) {
		cpu++
	}
	one.Set(cpu)
	return unix.SchedSetaffinity(0, &one)
}

// send sends n packets of one flow.
func (b *burst) send(t *testing.T, port uint16, n int) {
	t.Helper()
	frame := make([]byte, 60)
	copy(frame, []byte{2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 8, 0, 0x45, 0, 0, 46})
	copy(frame[22:], []byte{64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2})
	binary.BigEndian.PutUint16(frame[34:], port)
	copy(frame[36:], []byte{0, 9, 0, 26})
	b.sendFrame(t, frame, n)
}

// sendNothing sends n frames without a packet: of a protocol for local experiments.
func (b *burst) sendNothing(t *testing.T, n int) {
	t.Helper()
	b.sendFrame(t, append([]byte{2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x88, 0xb5}, make([]byte, 46)...), n)
}

func (b *burst) sendFrame(t *testing.T, frame []byte, n int) {
	t.Helper()
	b.from.do(t, func() error {
		for range n {
			if err := b.injector.send(frame); err != nil {
				return err
			}
		}
		return nil
	})
	b.sent += uint64(n)
}

// metricsAddress is what the start lines say.
func metricsAddress(t *testing.T, messages *bufio.Reader) string {
	t.Helper()
	line, err := messages.ReadString('\n')
	match := regexp.MustCompile(`^conntap: metrics: http://(127\.0\.0\.1:\d+)/metrics\n$`).FindStringSubmatch(line)
	if err != nil || match == nil {
		t.Fatalf("want the address of metrics, got %q, %v", line, err)
	}
	return match[1]
}

// scraped is the samples of a scrape, by name with labels.
type scraped map[string]uint64

// scrapeQuiet scrapes until so many frames were seen, at least, and every recorded
// packet has reached the tracker.
func scrapeQuiet(t *testing.T, n *namespace, address string, seen uint64) scraped {
	t.Helper()
	var s scraped
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		s = scrape(t, n, address)
		if s.sum("frames_seen_total") >= seen && s.sum("frames_recorded_total") == s.sum("records_total") {
			return s
		}
	}
	t.Fatalf("want %d frames seen and as many records as recorded, got %d, %d and %d", seen,
		s.sum("frames_seen_total"), s.sum("records_total"), s.sum("frames_recorded_total"))
	return nil
}

func scrape(t *testing.T, n *namespace, address string) scraped {
	t.Helper()
	var text []byte
	n.do(t, func() error {
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /metrics HTTP/1.1\r\nHost: near\r\nConnection: close\r\n\r\n")
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		text, err = io.ReadAll(answer.Body)
		return err
	})
	s := scraped{}
	for line := range strings.Lines(string(text)) {
		name, value, found := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); found && err == nil {
			s[name] = uint64(v)
		}
	}
	return s
}

// sum adds a metric's samples up.
func (s scraped) sum(name string) (sum uint64) {
	for sample, v := range s {
		if metric, _, _ := strings.Cut(sample, "{"); metric == "conntap_"+name {
			sum += v
		}
	}
	return sum
}

func (s scraped) checkBalance(t *testing.T) {
	t.Helper()
	seen := s.sum("frames_seen_total")
	if sum := s.sum("frames_recorded_total") + s.sum("frames_filtered_total") + s.sum("frames_skipped_total") + s.sum("frames_lost_total"); seen != sum {
		t.Errorf("metrics: want %d frames seen, got the sum %d", seen, sum)
	}
	records := s.sum("records_total") + s.sum("packets_joined_total")
	if sum := s.sum("packets_total") + s.sum("notes_total"); records != sum || records == 0 {
		t.Errorf("metrics: want %d records, got the sum %d", records, sum)
	}
}

// checkFullAccount holds the account against the metrics: the whole, its parts by
// CPU, and the packets.
func checkFullAccount(t *testing.T, account string, s scraped) {
	t.Helper()
	account = strings.ReplaceAll(account, ",", "") // of thousands, and of "in, CPU 0"
	const equation = `seen (\d+) = recorded (\d+) \+ filtered (\d+) \+ skipped (\d+)(?: \([a-z0-9 ]+\))? \+ lost (\d+)`
	number := func(text string) uint64 {
		n, err := strconv.ParseUint(text, 10, 64)
		must(t, err)
		return n
	}
	var sums [5]uint64
	for _, line := range regexp.MustCompile(`(?m)^    near (?:in|out) CPU \d+: `+equation).FindAllStringSubmatch(account, -1) {
		for i := range sums {
			sums[i] += number(line[1+i])
		}
	}
	whole := regexp.MustCompile(`(?m)^  ` + equation + ` \(ring full\)$`).FindStringSubmatch(account)
	if whole == nil {
		t.Fatalf("want the balance of frames, got\n%s", account)
	}
	for i, name := range []string{"seen", "recorded", "filtered", "skipped", "lost"} {
		if n := number(whole[1+i]); n != sums[i] || n != s.sum("frames_"+name+"_total") {
			t.Errorf("%s: want %d as in the metrics, got %d, by CPU %d\n%s", name, s.sum("frames_"+name+"_total"), n, sums[i], account)
		}
	}
	if sums[0] != sums[1]+sums[2]+sums[3]+sums[4] {
		t.Errorf("want a balance, got\n%s", account)
	}
	packets := regexp.MustCompile(`(?m)^  packets (\d+) = in connections (\d+) `).FindStringSubmatch(account)
	if packets == nil || packets[1] != packets[2] || number(packets[1]) != sums[1] {
		t.Errorf("want all %d recorded packets in connections, got\n%s", sums[1], account)
	}
}

// loggedFlow is what the test looks at of a row.
type loggedFlow struct {
	Port          uint16 `json:"id.orig_p"`
	Packets       uint64 `json:"orig_pkts"`
	AnswerPackets uint64 `json:"resp_pkts"`
	Lost          uint64 `json:"lost_records"`
}

// connectionsByPort reads rows, whose packets of both sides it adds up. Ports of the
// burst are the originators'.
func connectionsByPort(t *testing.T, log []byte) map[uint16]loggedFlow {
	t.Helper()
	flows := map[uint16]loggedFlow{}
	for line := range strings.Lines(string(log)) {
		var row loggedFlow
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		row.Packets += row.AnswerPackets + flows[row.Port].Packets
		flows[row.Port] = row
	}
	return flows
}
