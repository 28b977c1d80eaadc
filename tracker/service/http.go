// SPDX-License-Identifier: Apache-2.0

package service

import "bytes"

// Phases of one side of HTTP. Where not said otherwise the rules are those of
// Zeek src/analyzer/protocol/http/HTTP.cc.
const (
	httpLine     = iota // a request or status line comes
	httpHeaders         // header lines up to an empty one
	httpBody            // the body is skipped by its length
	httpChunk           // a chunk's length comes
	httpChunkEnd        // the end of a chunk's line
	httpTrailer         // trailer lines up to an empty one
	httpNothing         // the stream can't be told any more
)

// Flags of a message, and of a side.
const (
	httpChunked   = 1 << iota // Transfer-Encoding: chunked
	httpLength                // Content-Length was there
	httpUpgrade               // Upgrade: websocket
	httpKeepAlive             // originator: more requests may follow
	httpNoBody                // responder: the status or the request's method forbids a body
	httpSwitching             // responder: 101 or, to CONNECT, 200
	httpMessage   = httpChunked | httpLength | httpUpgrade | httpNoBody | httpSwitching
)

// Bits of the analyzer's word, above the count of unanswered requests.
const (
	httpConnect = 1 << 31 // the request was CONNECT
	httpHead    = 1 << 30 // the last request was HEAD
	httpSeen    = 1 << 29 // there was a request
	httpCount   = 1<<16 - 1
)

// http takes requests and replies (HTTP_Analyzer::DeliverStream).
func (m *Monitor) http(s *state, side int, b []byte) int {
	if m.at.Partial {
		return len(b)
	}
	d := &s.side[side]
	if d.phase == httpNothing {
		return len(b)
	}
	if d.phase == httpBody { // its bytes have been skipped
		m.httpEnd(s, side)
		return m.http(s, side, b)
	}
	text, n, ok := s.line(side, b)
	if !ok {
		return n
	}
	switch d.phase {
	case httpLine:
		if side == orig {
			m.httpRequest(s, text)
		} else {
			m.httpReply(s, text)
		}
	case httpHeaders:
		m.httpHeader(s, side, text)
	case httpChunk:
		s.httpChunk(side, text)
	case httpChunkEnd:
		d.phase = httpChunk
	case httpTrailer:
		if len(text) == 0 {
			m.httpEnd(s, side)
		}
	}
	return n
}

func (m *Monitor) httpRequest(s *state, text []byte) {
	d := &s.side[orig]
	if !isRequestLine(text) {
		expected := s.word&httpSeen == 0 || d.flags&httpKeepAlive != 0
		if len(text) > 0 && expected {
			d.phase = httpNothing
			m.violation(s)
		}
		return
	}
	m.confirm(s)
	method, _ := word(text)
	s.word |= httpSeen
	if s.word&httpCount < httpCount {
		s.word++
	}
	s.word &^= httpHead | httpConnect
	switch {
	case hasPrefixFold(method, "HEAD"):
		s.word |= httpHead
	case hasPrefixFold(method, "CONNECT"):
		s.word |= httpConnect
	}
	d.flags &^= httpMessage
	if bytes.HasSuffix(text, []byte("HTTP/1.1")) {
		d.flags |= httpKeepAlive
	}
	d.phase, d.value, d.count = httpHeaders, 0, 0
	if !bytes.Contains(text, []byte("HTTP/")) { // 0.9: no headers, and raw data comes back
		d.phase = httpLine
		s.side[resp].phase = httpNothing
	}
}

func (m *Monitor) httpReply(s *state, text []byte) {
	d := &s.side[resp]
	if !isStatusLine(text) {
		if len(text) > 0 {
			d.phase = httpNothing
			m.violation(s)
		}
		return
	}
	if s.word&httpCount > 0 {
		m.confirm(s)
	}
	d.phase, d.value, d.count = httpHeaders, 0, 0
	d.flags &^= httpMessage
	_, rest := word(text)
	code := replyCode(rest)
	if code/100 == 1 || code == 204 || code == 304 || s.word&httpHead != 0 {
		d.flags |= httpNoBody
	}
	if code == 101 || code == 200 && s.word&httpConnect != 0 {
		d.flags |= httpSwitching | httpNoBody
	}
	if code/100 != 1 && s.word&httpCount > 0 {
		s.word--
	}
}

func (m *Monitor) httpHeader(s *state, side int, text []byte) {
	d := &s.side[side]
	if len(text) == 0 {
		m.httpBodyBegins(s, side)
		return
	}
	value := skipBlanks(text)
	if !isBlank(text[0]) { // else the header's line before goes on
		name, v, ok := bytes.Cut(text, []byte{':'})
		if !ok {
			return
		}
		d.count = headerOf(name)
		value = skipBlanks(v)
	}
	if len(value) == 0 {
		return
	}
	switch d.count {
	case headerContentLength:
		d.flags |= httpLength
		d.value = number(value)
	case headerTransferEncoding:
		if hasPrefixFold(value, "CHUNKED") {
			d.flags |= httpChunked
		}
	case headerUpgrade:
		if hasPrefixFold(value, "WEBSOCKET") {
			d.flags |= httpUpgrade
		}
	case headerConnection:
		if side == orig && hasPrefixFold(value, "KEEP-ALIVE") {
			d.flags |= httpKeepAlive
		}
	}
	d.count = 0
}

// The headers that matter.
const (
	headerContentLength = 1 + iota
	headerTransferEncoding
	headerUpgrade
	headerConnection
)

func headerOf(name []byte) uint16 {
	name = bytes.TrimRight(name, " \t")
	for i, n := range [...]string{"CONTENT-LENGTH", "TRANSFER-ENCODING", "UPGRADE", "CONNECTION"} {
		if len(name) == len(n) && hasPrefixFold(name, n) {
			return headerContentLength + uint16(i)
		}
	}
	return 0
}

// number reads decimal digits; what no 32 bits hold is their largest.
func number(b []byte) uint32 {
	var n uint64
	for _, c := range b {
		if !isDigit(c) {
			break
		}
		n = min(n*10+uint64(c-'0'), 1<<32-1)
	}
	return uint32(n)
}

// httpBodyBegins decides behind the headers how the message goes on.
func (m *Monitor) httpBodyBegins(s *state, side int) {
	d := &s.side[side]
	if side == resp && d.flags&httpSwitching != 0 {
		m.httpSwitch(s)
		return
	}
	switch {
	case d.flags&httpNoBody != 0:
		m.httpEnd(s, side)
	case d.flags&httpChunked != 0:
		d.phase = httpChunk
	case d.flags&httpLength != 0:
		d.phase = httpBody
		s.skip[side] = uint64(d.value)
	case side == orig:
		m.httpEnd(s, side)
	default:
		d.phase = httpNothing // up to the end of the stream
	}
}

// httpSwitch leaves HTTP for what a proxy connects to, or for WebSocket.
func (m *Monitor) httpSwitch(s *state) {
	switch {
	case s.word&httpConnect != 0:
		m.begin(s, 0)
	case s.side[resp].flags&httpUpgrade != 0:
		m.begin(s, WebSocket)
	default:
		m.stop(s)
	}
}

func (m *Monitor) httpEnd(s *state, side int) {
	s.side[side].phase = httpLine
}

func (s *state) httpChunk(side int, text []byte) {
	d := &s.side[side]
	var n uint64
	digits := 0
	for _, c := range text {
		v := hexDigit(c)
		if v < 0 || digits > 12 {
			break
		}
		n = n<<4 | uint64(v)
		digits++
	}
	switch {
	case digits == 0:
		d.phase = httpNothing
	case n == 0:
		d.phase = httpTrailer
	default:
		d.phase = httpChunkEnd
		s.skip[side] = n
	}
}

func hexDigit(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'A' <= upper(c) && upper(c) <= 'F':
		return int(upper(c)-'A') + 10
	}
	return -1
}

// isRequestLine tells whether a line is a token, a blank and, unless a version
// ends it, at least an address (HTTP_RequestLine, ParseRequest).
func isRequestLine(text []byte) bool {
	n := 0
	for n < len(text) && isTokenByte(text[n]) {
		n++
	}
	if n == 0 || n == len(text) || !isBlank(text[n]) {
		return false
	}
	rest := skipBlanks(text[n:])
	if i := bytes.Index(rest, []byte("HTTP/")); i == 0 || i > 0 && isBlank(rest[i-1]) {
		return true
	}
	return n >= 3 && len(rest) > 0
}

func isTokenByte(c byte) bool {
	return c > ' ' && c < 0x7f && bytes.IndexByte([]byte(`()<>@,;:\"/[]?={}`), c) < 0
}

// isStatusLine tells whether a line is HTTP/, and three digits behind a blank
// (HTTP_ReplyLine).
func isStatusLine(text []byte) bool {
	if !bytes.HasPrefix(text, []byte("HTTP/")) {
		return false
	}
	_, rest := word(text)
	return len(rest) >= 3
}

// httpMethods are those of the signature (Zeek base/protocols/http/dpd.sig).
var httpMethods = [...]string{
	"OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT",
	"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK",
	"POLL", "REPORT", "SUBSCRIBE", "UNSUBSCRIBE", "NOTIFY", "BMOVE", "BCOPY", "BDELETE", "BPROPFIND", "BPROPPATCH",
	"X-MS-ENUMATTS", "RPC_IN_DATA", "RPC_OUT_DATA", "PATCH", "SEARCH", "VERSION-CONTROL", "CHECKOUT", "CHECKIN",
	"UNCHECKOUT", "MKWORKSPACE", "UPDATE", "LABEL", "MERGE", "BASELINE-CONTROL", "MKACTIVITY", "ORDERPATCH", "ACL",
}

// isHTTPRequest tells whether a stream begins with a method and a blank.
func isHTTPRequest(b []byte) bool {
	b = skipBlanks(b)
	if len(b) < 4 || b[0] < 'A' || b[0] > 'X' {
		return false
	}
	for _, method := range httpMethods {
		if method[0] == b[0] && len(b) > len(method) && isBlank(b[len(method)]) && string(b[:len(method)]) == method {
			return true
		}
	}
	return false
}

func isHTTPReply(b []byte) bool {
	return len(b) > 5 && hasPrefixFold(b, "HTTP/") && isDigit(b[5])
}

// guessHTTP takes the beginning of a request or status line for one.
func (m *Monitor) guessHTTP(s *state, side int, prefix []byte) {
	if m.at.Partial || s.side[side].phase != httpLine {
		return
	}
	if side == orig && isHTTPRequest(prefix) || side == resp && s.word&httpCount > 0 && isHTTPReply(prefix) {
		m.confirm(s)
	}
}

// webSocket confirms at the first whole message, of either side (Zeek
// src/analyzer/protocol/websocket). What the messages carry is looked at where it
// begins a TLS connection.
func (m *Monitor) webSocket(s *state, side int, b []byte) int {
	n, length := webSocketHeader(b)
	if n == 0 {
		return 0
	}
	if isMaskedTLS(b[:n], b[n:]) {
		s.names.add(SSL)
	}
	d := &s.side[side]
	d.flags = b[0] & webSocketFinal
	if s.skip[side] = length; length == 0 {
		m.webSocketEnd(s, side)
	}
	return n
}

const webSocketFinal = 0x80 // FIN of RFC 6455, 5.2

// webSocketEnd is where a frame's payload ends.
func (m *Monitor) webSocketEnd(s *state, side int) {
	if s.side[side].flags&webSocketFinal != 0 {
		m.confirm(s)
		m.stop(s)
	}
}

// webSocketHeader is the length of a frame's header and of its payload (RFC 6455,
// 5.2); 0 if the header isn't complete.
func webSocketHeader(b []byte) (header int, payload uint64) {
	if len(b) < 2 {
		return 0, 0
	}
	n := 2
	payload = uint64(b[1] & 0x7f)
	switch {
	case payload == 126:
		if n += 2; len(b) < n {
			return 0, 0
		}
		payload = uint64(be16(b[2:]))
	case payload == 127:
		if n += 8; len(b) < n {
			return 0, 0
		}
		payload = uint64(be32(b[2:]))<<32 | uint64(be32(b[6:]))
	}
	if b[1]&0x80 != 0 {
		if n += 4; len(b) < n {
			return 0, 0
		}
	}
	return n, payload
}

// isMaskedTLS tells whether a frame's payload, unmasked, begins with a ClientHello.
func isMaskedTLS(header, payload []byte) bool {
	var first [11]byte
	n := copy(first[:], payload)
	if header[1]&0x80 != 0 {
		mask := header[len(header)-4:]
		for i := range first[:n] {
			first[i] ^= mask[i&3]
		}
	}
	return isTLSClientHello(first[:n])
}
