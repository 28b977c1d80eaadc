// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"reflect"
	"testing"

	"conntap/bpf"
)

// TestStatsAdd checks that no number is left out of the sum.
func TestStatsAdd(t *testing.T) {
	var sum, part Stats
	numbers := func(s *Stats, visit func(reflect.Value)) {
		var walk func(v reflect.Value)
		walk = func(v reflect.Value) {
			switch v.Kind() {
			case reflect.Struct:
				for i := range v.NumField() {
					walk(v.Field(i))
				}
			case reflect.Array:
				for i := range v.Len() {
					walk(v.Index(i))
				}
			default:
				visit(v)
			}
		}
		walk(reflect.ValueOf(s).Elem())
	}
	next := uint64(0)
	numbers(&part, func(v reflect.Value) { next++; v.SetUint(next) })
	sum.add(&part)
	sum.add(&part)
	next = 0
	numbers(&sum, func(v reflect.Value) {
		if next++; v.Uint() != 2*next {
			t.Errorf("number %d of Stats: want it twice, got %d", next, v.Uint())
		}
	})
}

// TestLoggedBy checks by which transport connections are counted.
func TestLoggedBy(t *testing.T) {
	tests := []struct {
		protocol  uint8
		transport Transport
		name      string
	}{
		{bpf.ProtocolTCP, TransportTCP, "tcp"},
		{bpf.ProtocolUDP, TransportUDP, "udp"},
		{bpf.ProtocolICMP, TransportICMP, "icmp"},
		{bpf.ProtocolICMPv6, TransportICMP, "icmp"},
		{132, TransportOther, "unknown_transport"},
	}
	for _, tt := range tests {
		var row Conn
		tr := New(Config{}, func(c *Conn) { row = *c })
		p := tcpPacket(0, false, bpf.SYN, 1000, 0, 0)
		p.Protocol = tt.protocol
		tr.Track([]bpf.Packet{p})
		tr.Close()
		stats := tr.Stats()
		if stats.Logged[tt.transport][row.State] != 1 || stats.LoggedAs(row.State) != 1 || tt.transport.String() != tt.name {
			t.Errorf("protocol %d: want one of %s logged as %s, got %v", tt.protocol, tt.name, row.State, stats.Logged)
		}
	}
}
