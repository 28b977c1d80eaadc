// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// TestRunFollows deletes the interface that run captures on and makes it again, between
// connections, when run has given up all rights that it may give up.
func TestRunFollows(t *testing.T) {
	for _, capture := range []string{"auto", "afpacket"} {
		t.Run(capture, func(t *testing.T) { testRunFollows(t, capture) })
	}
}

func testRunFollows(t *testing.T, capture string) {
	near, far := twoHosts(t)
	run, stdout, messages := startRun(t, near, "--format", "tsv", "--capture", capture, "--fields", "conn_state,interface,orig_pkts")
	refuse(t, far)
	near.do(t, func() error {
		device, err := netlink.LinkByName("near")
		if err != nil {
			return err
		}
		return netlink.LinkDel(device)
	})
	hearOf(t, messages, "conntap: near is gone; waiting for it")
	near.addVeth(t, "near", far, "far", 1500)
	near.addAddress(t, "near", "192.0.2.1/24")
	far.addAddress(t, "far", "192.0.2.2/24")
	hearOf(t, messages, "near (veth, 192.0.2.1, ") // captured, or widened if the address came later
	refuse(t, far)
	time.Sleep(200 * time.Millisecond) // the kernel wakes the reader later
	rows, account := interrupted(t, run, stdout, messages)
	if want := regexp.MustCompile(`(?m)^REJ\t1\tnear$`); len(want.FindAllString(rows, -1)) != 2 {
		t.Errorf("want two refused connections, of near, got\n%s", rows)
	}
	match := regexp.MustCompile(`seen (\d+) = recorded (\d+) \+ filtered 0 \+ skipped (\d+).* \+ lost 0`).FindStringSubmatch(account)
	if match == nil {
		t.Fatalf("want an account, got\n%s", account)
	}
	var frames [3]int
	for i := range frames {
		var err error
		frames[i], err = strconv.Atoi(match[i+1])
		must(t, err)
	}
	if frames[0] != frames[1]+frames[2] || frames[1] < 4 {
		t.Errorf("want seen = recorded + skipped, and 4 packets at least, got\n%s", account)
	}
}

// hearOf reads messages up to one with these words.
func hearOf(t *testing.T, messages *bufio.Reader, want string) {
	t.Helper()
	var heard strings.Builder
	for {
		line, err := messages.ReadString('\n')
		fmt.Fprint(&heard, line)
		if err != nil {
			t.Fatalf("want %q, got %v after\n%s", want, err, heard.String())
		}
		if strings.Contains(line, want) {
			return
		}
	}
}

// TestRunNetns checks and captures in a namespace that conntap is not in.
func TestRunNetns(t *testing.T) {
	near, far := twoHosts(t)
	elsewhere := newNamespace(t)
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), near.file.Fd())
	elsewhere.do(t, func() error {
		report, err := exec.Command("conntap", "check", "--netns", path).CombinedOutput()
		if err != nil || !strings.Contains(string(report), "\nnear     veth, ") {
			t.Errorf("want that capture on near would work, got %v\n%s", err, report)
		}
		return nil
	})
	run, stdout, messages := startRun(t, elsewhere, "--format", "tsv", "--netns", path, "--fields", "conn_state")
	refuse(t, far)
	if rows := endRun(t, run, stdout, messages); !strings.Contains(rows, "\nREJ\n") {
		t.Errorf("want a refused connection, got\n%s", rows)
	}
}
