// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"bytes"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"

	"conntap/bpf"
)

// Values that more than one format writes the same way.

const (
	microsecond = int64(1000)
	second      = int64(1e9)
)

// seconds is ns since 1970 as Zeek holds a time: whole seconds plus truncated
// microseconds over a million, added as doubles (src/iosource/Packet.cc, Init).
func seconds(ns int64) float64 {
	sec, rest := ns/second, ns%second
	if rest < 0 {
		sec, rest = sec-1, rest+second
	}
	return float64(sec) + float64(rest/microsecond)/1e6
}

// appendAddr writes an address as Zeek's inet_ntop does: the longest run of at
// least two zero groups compressed, the first of equals; ::a.b.c.d and
// ::ffff:0:a.b.c.d in dotted form (src/bro_inet_ntop.c).
func appendAddr(b []byte, a *bpf.Addr) []byte {
	switch [12]byte(a[:12]) {
	case mappedPrefix:
		return appendIPv4(b, a[12:])
	case translatedPrefix:
		return appendIPv4(append(b, "::ffff:0:"...), a[12:])
	case [12]byte{}:
		if a[12]|a[13] != 0 { // else the run of zeros is longer: ::, ::1
			return appendIPv4(append(b, "::"...), a[12:])
		}
	}
	return netip.AddrFrom16(*a).AppendTo(b)
}

func isIPv4(a *bpf.Addr) bool { return [12]byte(a[:12]) == mappedPrefix }

var (
	mappedPrefix     = [12]byte{10: 0xff, 11: 0xff}
	translatedPrefix = [12]byte{8: 0xff, 9: 0xff}
)

func appendIPv4(b, a []byte) []byte {
	b = appendByte(b, a[0])
	b = appendByte(append(b, '.'), a[1])
	b = appendByte(append(b, '.'), a[2])
	return appendByte(append(b, '.'), a[3])
}

// appendByte writes v in decimal.
func appendByte(b []byte, v byte) []byte {
	switch {
	case v >= 100:
		return append(b, '0'+v/100, '0'+v/10%10, '0'+v%10)
	case v >= 10:
		return append(b, '0'+v/10, '0'+v%10)
	}
	return append(b, '0'+v)
}

// appendMAC writes colon-separated lower-case hex, and nothing for a MAC that
// is not known.
func appendMAC(b []byte, m bpf.MAC) []byte {
	const hex = "0123456789abcdef"
	if m == (bpf.MAC{}) {
		return b
	}
	for i, v := range m {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, hex[v>>4], hex[v&15])
	}
	return b
}

// appendFixed writes v with 6 decimals, rounded as Zeek's modp_dtoa does
// (spec 15.1): to nearest, an exact half up if the microseconds are odd or 0.
// From 2^31-1 on it is 17 significant digits and an exponent.
func appendFixed(b []byte, v float64) []byte {
	if v < 0 {
		b, v = append(b, '-'), -v
	}
	if v >= 1<<31-1 {
		return appendExponent(b, v)
	}
	whole := uint64(v)
	scaled := (v - float64(whole)) * 1e6
	micros := uint64(scaled)
	switch rest := scaled - float64(micros); {
	case rest > 0.5, rest == 0.5 && (micros == 0 || micros&1 == 1):
		micros++
	}
	if micros >= 1e6 {
		whole, micros = whole+1, 0
	}
	b = appendUint(b, whole)
	// A leading 1 keeps the zeros; the point takes its place.
	at := len(b)
	b = appendUint(b, 1e6+micros)
	b[at] = '.'
	return b
}

var powersOf10 = func() (powers [20]uint64) {
	for i, power := 0, uint64(1); i < len(powers); i, power = i+1, power*10 {
		powers[i] = power
	}
	return powers
}()

// digitPairs are 00 to 99.
const digitPairs = "00010203040506070809101112131415161718192021222324" +
	"25262728293031323334353637383940414243444546474849" +
	"50515253545556575859606162636465666768697071727374" +
	"75767778798081828384858687888990919293949596979899"

// appendUint writes v in decimal, to its place at once: a row has a dozen numbers,
// and strconv writes each one twice.
func appendUint(b []byte, v uint64) []byte {
	if v < 10 {
		return append(b, '0'+byte(v))
	}
	n := bits.Len64(v) * 1233 >> 12 // digits: log 2 is 1233/4096, nearly; one less if v is below 10^n
	if v >= powersOf10[n] {
		n++
	}
	b = slices.Grow(b, n)
	at := len(b) + n
	b = b[:at]
	for v >= 100 {
		at -= 2
		pair := digitPairs[v%100*2:]
		b[at], b[at+1] = pair[0], pair[1]
		v /= 100
	}
	if v >= 10 {
		pair := digitPairs[v*2:]
		b[at-2], b[at-1] = pair[0], pair[1]
	} else {
		b[at-1] = '0' + byte(v)
	}
	return b
}

// appendExponent writes v as %.16e less the zeros at the end of the fraction.
func appendExponent(b []byte, v float64) []byte {
	at := len(b)
	b = strconv.AppendFloat(b, v, 'e', 16, 64)
	exp := at + bytes.IndexByte(b[at:], 'e')
	end := exp
	for b[end-1] == '0' {
		end--
	}
	if b[end-1] == '.' {
		end--
	}
	return append(b[:end], b[exp:]...)
}
