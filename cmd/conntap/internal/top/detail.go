// SPDX-License-Identifier: Apache-2.0

package top

import (
	"fmt"
	"strings"
	"time"

	"conntap/cmd/conntap/internal/explain"
	"conntap/cmd/conntap/internal/screen"
	"conntap/tracker"
)

// detailLines are so many lines about the connection that is explained.
func (s *Screen) detailLines(height int) []string {
	lines := append([]string{""}, s.detailText()...)
	s.scroll = min(max(s.scroll, 0), max(len(lines)-height, 0))
	return lines[s.scroll:min(s.scroll+height, len(lines))]
}

func (s *Screen) detailText() []string {
	r := s.detail
	protocol := protocolName(r.Protocol)
	title := fmt.Sprintf("%s  to  %s  %s", endpointText(&r.Orig.Addr, r.Orig.Port, r.Protocol),
		endpointText(&r.Resp.Addr, r.Resp.Port, r.Protocol), protocol)
	if r.Service != "" {
		title += ", " + r.Service
	}
	lines := []string{boldStyle.Render(title), ""}
	lines = append(lines, s.lifeText(), "")
	lines = append(lines,
		fmt.Sprintf("%-14s %18s %18s", "", "originator sent", "responder sent"),
		fmt.Sprintf("%-14s %18s %18s", "packets", screen.Count(r.Orig.Packets), screen.Count(r.Resp.Packets)),
		fmt.Sprintf("%-14s %18s %18s", "IP bytes", screen.Bytes(r.Orig.IPBytes), screen.Bytes(r.Resp.IPBytes)),
		fmt.Sprintf("%-14s %18s %18s", "payload", screen.Bytes(r.Orig.Bytes), screen.Bytes(r.Resp.Bytes)),
	)
	if r.Orig.Retransmits+r.Resp.Retransmits > 0 {
		lines = append(lines, fmt.Sprintf("%-14s %18s %18s", "sent again", screen.Count(r.Orig.Retransmits), screen.Count(r.Resp.Retransmits)))
	}
	if r.MissedBytes > 0 {
		lines = append(lines, alarmStyle.Render(screen.Bytes(r.MissedBytes)+" of payload were not seen"))
	}
	lines = append(lines, "", "uid "+r.UID.String())
	if len(r.TunnelParents) > 0 {
		lines[len(lines)-1] += "  inside of"
		for _, parent := range r.TunnelParents {
			lines[len(lines)-1] += " " + parent.String()
		}
	}
	words := explain.Connection(tracker.TransportOf(r.Protocol), r.State, string(r.History))
	return append(append(lines, ""), strings.Split(strings.TrimRight(words, "\n"), "\n")...)
}

// lifeText says since when the connection is there.
func (s *Screen) lifeText() string {
	r := s.detail
	start := time.Unix(0, r.Start+r.ClockOffset).UTC().Format("2006-01-02 15:04:05.000 UTC")
	if r.Ended {
		return fmt.Sprintf("logged: it began at %s and lasted %s", start, screen.Span(time.Duration(r.Age)))
	}
	text := fmt.Sprintf("open since %s, %s; last packet %s ago", start, span(r.Age), span(r.Age-(r.Last-r.Start)))
	if r.RateKnown {
		text += "; now " + screen.Rate(r.BitRate, "bit/s")
	}
	return text
}
