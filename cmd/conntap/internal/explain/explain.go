// SPDX-License-Identifier: Apache-2.0

// Package explain says in words what conn_state and history mean, for a pair of
// them, for rows of a log, or as a table.
package explain

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"conntap/tracker"
	"conntap/tracker/connlog"
)

// ErrUnknown is in the chain of errors about a state or a letter that doesn't
// exist: a matter of usage, where other errors are the log's.
var ErrUnknown = errors.New("unknown")

// Pair explains a state and a history such as "SF" and "ShADadFf"; an empty
// history or "-" stands for none. It is an error if no connection can have
// both.
func Pair(w io.Writer, state, history string) error {
	s, ok := parseState(state)
	if !ok {
		return fmt.Errorf("%w state %q: known are %s", ErrUnknown, state, allStates())
	}
	if history == "-" {
		history = ""
	}
	if err := checkHistory(history); err != nil {
		return err
	}
	if err := contradiction("", s, history); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-6s %-4s %s\n", s, connlog.Symbol(s), inWords("", s, history))
	writeLetters(&b, "  ", "", history)
	if history != "" {
		b.WriteString("A, D, I and Q stand once per side, however many packets; C, G, T, W stand at 1, 10, 100, ... times.\n")
		b.WriteString(notSeen(history))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Word explains a state or a history alone, a history with the states that it
// comes with.
func Word(w io.Writer, word string) error {
	var b strings.Builder
	if s, ok := parseState(word); ok {
		fmt.Fprintf(&b, "%-6s %-4s %s\n%s.\n", s, connlog.Symbol(s), stateWords[s].plain, stateWords[s].needs)
		_, err := io.WriteString(w, b.String())
		return err
	}
	if err := checkHistory(word); err != nil {
		return fmt.Errorf("%q is no state, and as a history: %w", word, err)
	}
	writeLetters(&b, "  ", "", word)
	if possible := possibleStates("", word); possible != 0 {
		fmt.Fprintf(&b, "Comes with %s.\n", possible)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Table explains all states and letters, and what ends a connection.
func Table(w io.Writer) error {
	var b strings.Builder
	b.WriteString("conn_state, with its symbol in the text format:\n")
	for _, s := range tableOrder {
		fmt.Fprintf(&b, "  %-6s %-4s %s\n", s, connlog.Symbol(s), stateWords[s].plain)
	}
	b.WriteString("\nhistory, upper case for the originator, lower case for the responder, in order of time:\n")
	for _, l := range letterWords {
		fmt.Fprintf(&b, "  %c  %s%s\n", l.letter, l.plain, repetition(l))
	}
	fmt.Fprintf(&b, "\n%s\n\n%s\n", endings, olderVersions)
	_, err := io.WriteString(w, b.String())
	return err
}

// tableOrder is the order of the manuals, which tell the attempts first.
var tableOrder = [tracker.StateCount]tracker.State{
	tracker.S0, tracker.S1, tracker.SF, tracker.REJ, tracker.S2, tracker.S3, tracker.RSTO, tracker.RSTR,
	tracker.RSTOS0, tracker.RSTRH, tracker.SH, tracker.SHR, tracker.OTH,
}

// repetition says how often a letter can stand.
func repetition(l letterWord) string {
	switch {
	case l.scaled:
		return "; at the 1st, 10th, 100th, ... time of a side"
	case strings.IndexByte("ADIQ", l.letter) >= 0:
		return "; once per side"
	case strings.IndexByte("SHFR", l.letter) >= 0:
		return "; again with another sequence number"
	case l.letter == 'X':
		return "; once"
	}
	return ""
}

// parseState finds a state by its name, in either case.
func parseState(name string) (tracker.State, bool) {
	for s := range tracker.State(tracker.StateCount) {
		if strings.EqualFold(s.String(), name) {
			return s, true
		}
	}
	return 0, false
}

func allStates() string {
	names := make([]string, len(tableOrder))
	for i, s := range tableOrder {
		names[i] = s.String()
	}
	return strings.Join(names, ", ")
}

// checkHistory finds letters that don't exist, or stand more often than they
// can.
func checkHistory(history string) error {
	for i := range len(history) {
		letter := history[i]
		if findLetter(letter) == nil {
			return fmt.Errorf("%w letter %q in history %q: known are S H A D F R C I Q T W G in both cases, ^ and X",
				ErrUnknown, letter, history)
		}
		if strings.IndexByte("ADIQXadiq", letter) >= 0 && strings.IndexByte(history[:i], letter) >= 0 {
			return fmt.Errorf("no history is %q: %c stands once at most", history, letter)
		}
	}
	return nil
}

// contradiction is an error if no connection of the transport can have state
// and history; proto "" is any.
func contradiction(proto string, s tracker.State, history string) error {
	possible := possibleStates(proto, history)
	if possible.has(s) {
		return nil
	}
	if possible == 0 {
		return fmt.Errorf("history %q comes with no state of %s", history, transport(proto))
	}
	reason := stateWords[s].needs
	if s == tracker.OTH {
		reason = "it comes with " + possible.String()
	}
	return fmt.Errorf("%s cannot come with history %q: %s", s, history, reason)
}

func transport(proto string) string {
	if proto == "" {
		return "any transport"
	}
	return proto
}

// writeLetters explains a history, a letter a line.
func writeLetters(b *strings.Builder, indent, proto, history string) {
	count := [256]int{}
	for i := range len(history) {
		letter := history[i]
		l := findLetter(letter)
		if l == nil {
			fmt.Fprintf(b, "%s%q  unknown letter\n", indent, letter)
			continue
		}
		count[letter]++
		words := l.plain
		switch {
		case l.scaled:
			words = l.scaledWords(count[letter], strings.Count(history, string(rune(letter))))
		case count[letter] > 1 && letter != '^':
			words += " again, with another sequence number"
		case proto == "udp" && l.letter == 'D':
			words = "first packet"
		}
		fmt.Fprintf(b, "%s%s\n", indent, strings.TrimRight(fmt.Sprintf("%c  %-10s  %s", letter, who(letter), words), " "))
	}
}

// notSeen names the noteworthy letters that a history lacks, in a line.
func notSeen(history string) string {
	var missing []string
	for _, l := range letterWords {
		both := string(l.letter) + strings.ToLower(string(l.letter))
		if l.absent != "" && !strings.ContainsAny(history, both) {
			missing = append(missing, l.absent)
		}
	}
	switch n := len(missing); n {
	case 0:
		return ""
	case 1:
		return "No " + missing[0] + " was seen.\n"
	default:
		return "No " + strings.Join(missing[:n-1], ", ") + " or " + missing[n-1] + " was seen.\n"
	}
}
