// SPDX-License-Identifier: Apache-2.0

package tracker

// UID identifies a connection: 96 bits, written as Zeek does, "C" and base 62.
type UID struct {
	High uint32 // Zeek's first word, of which it keeps 32 bits
	Low  uint64
}

const base62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// Append appends the uid's text to b. Digits come least significant first,
// without padding (Zeek src/util.cc, uitoa_n).
func (u UID) Append(b []byte) []byte {
	b = append(b, 'C')
	b = appendBase62(b, uint64(u.High))
	return appendBase62(b, u.Low)
}

// String is the uid's text.
func (u UID) String() string { return string(u.Append(nil)) }

func appendBase62(b []byte, v uint64) []byte {
	for {
		b = append(b, base62[v%62])
		v /= 62
		if v == 0 {
			return b
		}
	}
}
