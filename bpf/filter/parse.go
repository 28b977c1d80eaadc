// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"strings"
	"unicode"
)

// Bounds of an expression.
const (
	// PrimitivesMax is the most hosts, nets, ports and the like.
	PrimitivesMax = 1000
	// depthMax is how many parentheses and negations stand in each other at most.
	depthMax = 200
)

// Subset lists the words that are understood, for people.
const Subset = `  host ADDRESS   net ADDRESS[/BITS]   net ADDRESS mask MASK   port N   portrange N-N
      before each of these: src, dst, src or dst (when not said), src and dst;
      ip or ip6 before host and net, tcp or udp before port and portrange
  ip   ip6   tcp   udp   icmp   icmp6   proto N   vlan [ID]
  and (&&), or (||): alike in rank, from left to right, as in pcap; not (!), ( )`

// SyntaxError is an expression that was not understood.
type SyntaxError struct {
	Text    string // the expression
	Start   int    // where the word stands that the message is about, bytes
	Length  int    // of that word, bytes; 0 at the end of the expression
	Message string
}

// Error is the message, the expression with the word marked, and [Subset].
func (e *SyntaxError) Error() string {
	const shown = 60 // characters on each side of the word
	before, marked, after := []rune(e.Text[:e.Start]), []rune(e.Text[e.Start:e.Start+e.Length]), []rune(e.Text[e.Start+e.Length:])
	if len(before) > shown {
		before = append([]rune("..."), before[len(before)-shown:]...)
	}
	if len(marked) > shown {
		marked = marked[:shown]
	}
	if len(after) > shown {
		after = append(after[:shown], []rune("...")...)
	}
	line := strings.Map(printable, string(before)+string(marked)+string(after))
	mark := strings.Repeat(" ", len(before)) + "^" + strings.Repeat("~", max(len(marked)-1, 0))
	return fmt.Sprintf("%s\n  %s\n  %s\nThese of pcap's words are understood:\n%s", e.Message, line, mark, Subset)
}

// printable is r, or a blank in its place.
func printable(r rune) rune {
	if !unicode.IsPrint(r) {
		return ' '
	}
	return r
}

// word is a word, operator or parenthesis of an expression.
type word struct {
	text  string
	start int
}

// split takes an expression apart.
func split(text string) []word {
	var words []word
	for at := 0; at < len(text); {
		length := 1
		switch rest := text[at:]; {
		case strings.ContainsRune(" \t\r\n", rune(rest[0])):
			at++
			continue
		case strings.HasPrefix(rest, "&&"), strings.HasPrefix(rest, "||"):
			length = 2
		case strings.ContainsRune("()!", rune(rest[0])):
		default:
			if length = strings.IndexAny(rest, " \t\r\n()!&|"); length < 0 {
				length = len(rest)
			}
			length = max(length, 1) // a single & or |
		}
		words = append(words, word{text[at : at+length], at})
		at += length
	}
	return append(words, word{"", len(text)})
}

// parser reads the words of one expression.
type parser struct {
	text       string
	words      []word // the last is empty
	at         int
	depth      int
	primitives int
	last       qualifiers // of the last primitive, for a value that has none
}

// Parse understands an expression. An error is a [SyntaxError].
func Parse(text string) (*Filter, error) {
	p := parser{text: text, words: split(text)}
	root, err := p.expression()
	if err == nil && p.peek() != "" {
		err = p.errorf("%q stands where and, or, or the end is to be", p.peek())
	}
	if err != nil {
		return nil, err
	}
	return &Filter{
		text:   text,
		packet: root, fragment: root.possible(portsUnknown, false), extension: root.possible(transportUnknown, false),
	}, nil
}

func (p *parser) peek() string { return p.words[p.at].text }

// peekAfter is the n-th word after the next one.
func (p *parser) peekAfter(n int) string { return p.words[min(p.at+n, len(p.words)-1)].text }

// take goes on to the next word, if this is one of those that are asked for.
func (p *parser) take(any ...string) bool {
	for _, text := range any {
		if p.peek() == text {
			p.at++
			return true
		}
	}
	return false
}

// errorf complains of the next word.
func (p *parser) errorf(format string, args ...any) error {
	w := p.words[p.at]
	return &SyntaxError{p.text, w.start, len(w.text), fmt.Sprintf(format, args...)}
}

// errorBefore complains of the word that was taken last.
func (p *parser) errorBefore(format string, args ...any) error {
	p.at--
	return p.errorf(format, args...)
}

// expression reads terms and what joins them. As in pcap, and and or are alike in
// rank.
func (p *parser) expression() (*Node, error) {
	left, err := p.term()
	for err == nil {
		op := And
		if !p.take("and", "&&") {
			if !p.take("or", "||") {
				break
			}
			op = Or
		}
		var right *Node
		if right, err = p.term(); err == nil {
			left = &Node{Op: op, Left: left, Right: right}
		}
	}
	return left, err
}

// term reads a primitive, a negation or what stands in parentheses.
func (p *parser) term() (*Node, error) {
	if p.depth++; p.depth > depthMax {
		return nil, p.errorf("more than %d parentheses and negations in each other", depthMax)
	}
	defer func() { p.depth-- }()
	switch {
	case p.take("not", "!"):
		n, err := p.term()
		return &Node{Op: Not, Left: n}, err
	case p.take("("):
		n, err := p.expression()
		if err == nil && !p.take(")") {
			err = p.errorf("a closing parenthesis is missing")
		}
		return n, err
	}
	if p.primitives++; p.primitives > PrimitivesMax {
		return nil, p.errorf("more than %d conditions; nets and portranges hold many", PrimitivesMax)
	}
	return p.primitive()
}
