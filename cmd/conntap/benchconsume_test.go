// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"conntap/tracker"
	"conntap/tracker/connlog"
)

// TestPacketSum: what is counted is what the log's rows say.
func TestPacketSum(t *testing.T) {
	var sum packetSum
	log, err := connlog.NewWriter(&sum, connlog.Config{Format: connlog.TSV})
	if err != nil {
		t.Fatal(err)
	}
	conn := &tracker.Conn{History: []byte("Dd"), Service: "dns"}
	for n := range uint64(1000) {
		conn.Orig.Packets, conn.Resp.Packets = n, 2*n
		if err := log.Write(conn); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if want := uint64(3 * 999 * 1000 / 2); sum.packets != want {
		t.Errorf("want %d packets, got %d", want, sum.packets)
	}
}

// TestPacketColumns finds the columns by their names.
func TestPacketColumns(t *testing.T) {
	sum := &packetSum{}
	lines := "#separator \\x09\n#fields\tts\tresp_pkts\tid\torig_pkts\n1.5\t7\tx\t35\n#close\tnow\n"
	if n, err := sum.Write([]byte(lines)); n != len(lines) || err != nil || sum.packets != 42 {
		t.Errorf("want all of it taken and 42 packets, got %d of %d, %v, %d", n, len(lines), err, sum.packets)
	}
}
