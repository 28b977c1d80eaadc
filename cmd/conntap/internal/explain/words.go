// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"strings"

	"conntap/tracker"
)

// stateWords say what a state means, and what a row must have to get it.
var stateWords = [tracker.StateCount]struct{ plain, needs string }{
	tracker.OTH: {
		"no handshake seen: it began before the capture, or is neither TCP nor UDP",
		"what the history shows is one of the other states",
	},
	tracker.S0: {
		"attempt; no answer seen",
		"S0 needs a SYN (UDP: a packet) of the originator, no FIN or RST, and nothing of the responder that answers",
	},
	tracker.S1: {
		"established; neither side has closed",
		"S1 needs both sides established, without FIN or RST of either",
	},
	tracker.SF: {
		"established and closed by both sides (UDP: both sides sent)",
		"SF needs a FIN from both sides",
	},
	tracker.REJ: {
		"attempt; the responder refused it (RST)",
		"REJ needs a RST of the responder to a handshake that was not finished, or of both sides without data",
	},
	tracker.S2: {
		"established; the originator closed (FIN), the responder did not",
		"S2 needs a FIN of the originator, an established responder without FIN, and no RST that ends it",
	},
	tracker.S3: {
		"established; the responder closed (FIN), the originator did not",
		"S3 needs a FIN of the responder, a handshake of the originator without FIN, and no RST that ends it",
	},
	tracker.RSTO: {
		"established; the originator aborted it (RST)",
		"RSTO needs a RST of the originator and a responder that was established or sent a FIN",
	},
	tracker.RSTR: {
		"established; the responder aborted it (RST)",
		"RSTR needs a RST of the responder and an originator that was established, sent a FIN or a RST",
	},
	tracker.RSTOS0: {
		"the originator sent a SYN and then a RST; no SYN-ACK seen",
		"RSTOS0 needs a SYN of the originator, then its RST, without its H, A, F, G, I, Q between them, " +
			"and a responder that took no part",
	},
	tracker.RSTRH: {
		"the responder sent a RST; nothing of the originator's handshake seen",
		"RSTRH needs a RST of the responder and no SYN, FIN or RST of the originator that counts",
	},
	tracker.SH: {
		"the originator sent a SYN and then a FIN; no SYN-ACK seen",
		"SH needs a FIN of the originator, and a responder that took no part",
	},
	tracker.SHR: {
		"the responder sent a FIN; no SYN of the originator seen (UDP: only the responder sent)",
		"SHR needs a FIN of the responder (UDP: a packet), and no SYN, FIN or RST of the originator that counts",
	},
}

// inWords is the meaning of a state, read with its history: some states tell
// less than their classic wording.
func inWords(proto string, state tracker.State, history string) string {
	switch {
	case proto == "udp" && state == tracker.OTH:
		return "no packet counted: bad checksums, or UDP lengths below 8"
	case proto == "udp" && state == tracker.S0:
		return "only the originator sent"
	case proto == "udp" && state == tracker.SF:
		return "both sides sent"
	case proto == "udp" && state == tracker.SHR:
		return "only the responder sent"
	case (proto == "icmp" || proto == "unknown_transport") && state == tracker.OTH:
		return "always so for this transport"
	case state == tracker.RSTRH && strings.Contains(history, "h"):
		return "the responder sent a SYN-ACK and then a RST; no SYN of the originator seen"
	case state == tracker.SHR && strings.Contains(history, "h"):
		return "the responder sent a SYN-ACK and then a FIN; no SYN of the originator seen"
	case state == tracker.SH && !strings.Contains(history, "S"):
		return "the originator sent a FIN; nothing of a handshake seen"
	}
	return stateWords[state].plain
}

// letterWord is what a history letter stands for.
type letterWord struct {
	letter byte // upper case
	plain  string
	// scaled: the n-th such letter of a side is its 10^(n-1)th event.
	scaled bool
	// absent names the letter in the line on what was not seen, or is empty.
	absent string
}

// letterWords are the 14 letters, in the order of the table.
var letterWords = []letterWord{
	{letter: 'S', plain: "SYN"},
	{letter: 'H', plain: "SYN+ACK"},
	{letter: 'A', plain: "first pure ACK"},
	{letter: 'D', plain: "first data"},
	{letter: 'F', plain: "FIN"},
	{letter: 'R', plain: "RST"},
	{letter: 'C', plain: "bad checksum, packet not counted", scaled: true, absent: "bad checksum (c)"},
	{letter: 'I', plain: "FIN and RST in one packet"},
	{letter: 'Q', plain: "SYN with FIN or RST in one packet"},
	{letter: 'T', plain: "sent data again", scaled: true, absent: "retransmission (t)"},
	{letter: 'W', plain: "zero window", scaled: true, absent: "zero window (w)"},
	{letter: 'G', plain: "gap: data acknowledged that was not seen", scaled: true, absent: "gap (g)"},
	{letter: '^', plain: "the sides changed roles: what came first was not from the originator", absent: "role change (^)"},
	{letter: 'X', plain: "analysis was cut short: tunnels too deep or changing too often, or a protocol's limit"},
}

// findLetter finds the meaning of a letter of either case. X has one case only.
func findLetter(letter byte) *letterWord {
	upper := letter
	if 'a' <= letter && letter <= 'z' && letter != 'x' {
		upper -= 'a' - 'A'
	}
	for i := range letterWords {
		if letterWords[i].letter == upper {
			return &letterWords[i]
		}
	}
	return nil
}

// who sends, by the letter's case.
func who(letter byte) string {
	switch {
	case letter == '^' || letter == 'X':
		return ""
	case 'a' <= letter && letter <= 'z':
		return "responder"
	}
	return "originator"
}

// scaledWords are the meaning of the n-th of total letters: it came with the
// side's 10^(n-1)th event, and the last one bounds their number.
func (l *letterWord) scaledWords(n, total int) string {
	text := l.plain
	switch {
	case n == 1 && total == 1:
		return text + " (1 to 9 times)"
	case n > 1:
		text += fmt.Sprintf(" for the %sth time", powerOfTen(n-1))
	}
	if n == total {
		text += fmt.Sprintf(" (%s to %s times in all)", powerOfTen(n-1), strings.Repeat("9", n))
	}
	return text
}

func powerOfTen(n int) string { return "1" + strings.Repeat("0", n) }

// endings is what ends a connection, for the table.
const endings = `What ends a connection and writes its row:
  TCP   5 s after the close: FIN from both sides, a RST, or a close by one side that the other never answered
        5 s after a SYN that nobody answered
        a new SYN with another sequence number on the same addresses and ports (that starts a new row)
        silence: 60 s before the handshake is complete, then 5 min; 1 h on ports 21, 22, 23 and 513
  UDP   60 s of silence; with responder port 53, 137, 5353 or 5355: 10 to 20 s
  ICMP and other protocols: 60 s of silence
  all   the end of the input`

// olderVersions is how logs of other versions differ, for the table.
const olderVersions = `Other versions: g is of Zeek 3.0 and later, X of 6.2 and later. Bro 2.6 and Zeek before 4.0 wrote RSTOS0
for every reset by an originator whose peer kept silent; now R and SAR, for example, are OTH.
Its documentation says of RSTRH and SHR that the responder "sent a SYN ACK"; read the history: Ar is RSTRH too.`

// StateWords is what a state means, in a sentence without a full stop; "" if there
// is no such state.
func StateWords(name string) string {
	s, ok := parseState(name)
	if !ok {
		return ""
	}
	return stateWords[s].plain
}
