// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"math"
	"math/big"
	"math/bits"
	"strconv"
)

// Zeek prints JSON's doubles by RapidJSON (internal/dtoa.h), whose digits come
// from Grisu2 (F. Loitsch, Printing Floating-Point Numbers Quickly and
// Accurately with Integers, 2010). They read back as the same double, but are
// not always the shortest or nearest that do: two durations in a hundred differ
// in the last digit from what strconv writes.

// appendJSONDouble writes v >= 0: plain from 1e-6 to below 1e21, with a point
// always, else with an exponent without padding.
func appendJSONDouble(b []byte, v float64) []byte {
	if v == 0 {
		return append(b, "0.0"...)
	}
	var buf [20]byte
	digits, exponent := grisu2(buf[:0], v)
	point := len(digits) + exponent // digits before the point
	switch {
	case exponent >= 0 && point <= 21:
		b = appendZeros(append(b, digits...), exponent)
		return append(b, '.', '0')
	case point > 0 && point <= 21:
		b = append(append(b, digits[:point]...), '.')
		return append(b, digits[point:]...)
	case point > -6 && point <= 0:
		b = appendZeros(append(b, '0', '.'), -point)
		return append(b, digits...)
	}
	b = append(b, digits[0])
	if len(digits) > 1 {
		b = append(append(b, '.'), digits[1:]...)
	}
	return strconv.AppendInt(append(b, 'e'), int64(point-1), 10)
}

func appendZeros(b []byte, n int) []byte {
	for range n {
		b = append(b, '0')
	}
	return b
}

// float is f * 2^e.
type float struct {
	f uint64
	e int
}

func (a float) normalized() float {
	shift := bits.LeadingZeros64(a.f)
	return float{a.f << shift, a.e - shift}
}

// times is the product's upper half, rounded.
func (a float) times(b float) float {
	high, low := bits.Mul64(a.f, b.f)
	return float{high + low>>63, a.e + b.e + 64}
}

// grisu2 appends the digits of v > 0 and returns them with the power of ten of
// the last one.
func grisu2(digits []byte, v float64) ([]byte, int) {
	const hidden = 1 << 52
	word := math.Float64bits(v)
	w := float{word & (hidden - 1), -1074}
	if biased := int(word >> 52); biased != 0 {
		w = float{w.f | hidden, biased - 1075}
	}
	// The halves of the gaps to the neighbours bound what reads back as v.
	above := float{w.f<<1 + 1, w.e - 1}.normalized()
	below := float{w.f<<1 - 1, w.e - 1}
	if w.f == hidden {
		below = float{w.f<<2 - 1, w.e - 2}
	}
	below = float{below.f << (below.e - above.e), above.e}

	power, exponent := cachedPower(above.e)
	w, above, below = w.normalized().times(power), above.times(power), below.times(power)
	above.f--
	below.f++
	return grisuDigits(digits, above, above.f-w.f, above.f-below.f, exponent)
}

// grisuDigits generates digits of top until what remains is within delta;
// distance is from top to the value itself.
func grisuDigits(digits []byte, top float, distance, delta uint64, exponent int) ([]byte, int) {
	shift := -top.e
	one := uint64(1) << shift
	whole, rest := uint32(top.f>>shift), top.f&(one-1)
	kappa := len(strconv.AppendUint(make([]byte, 0, 10), uint64(whole), 10))
	for kappa > 0 {
		kappa--
		digits = appendDigit(digits, byte(whole/uint32(powersOfTen[kappa])))
		whole %= uint32(powersOfTen[kappa])
		if remaining := uint64(whole)<<shift + rest; remaining <= delta {
			grisuRound(digits, delta, remaining, powersOfTen[kappa]<<shift, distance)
			return digits, exponent + kappa
		}
	}
	for {
		rest *= 10
		delta *= 10
		digits = appendDigit(digits, byte(rest>>shift))
		rest &= one - 1
		kappa--
		if rest < delta {
			scale := uint64(0)
			if -kappa < len(powersOfTen) {
				scale = powersOfTen[-kappa]
			}
			// The product may wrap, as it does there.
			grisuRound(digits, delta, rest, one, distance*scale)
			return digits, exponent + kappa
		}
	}
}

// appendDigit leaves out leading zeros.
func appendDigit(digits []byte, d byte) []byte {
	if d == 0 && len(digits) == 0 {
		return digits
	}
	return append(digits, '0'+d)
}

// grisuRound lowers the last digit while that comes nearer to the value.
func grisuRound(digits []byte, delta, rest, unit, distance uint64) {
	for rest < distance && delta-rest >= unit &&
		(rest+unit < distance || distance-rest > rest+unit-distance) {
		digits[len(digits)-1]--
		rest += unit
	}
}

var powersOfTen = [20]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// cachedPower is a power of ten that brings a number with binary exponent e
// into grisuDigits' range, and the decimal exponent that this costs.
func cachedPower(e int) (float, int) {
	k := int(math.Ceil(float64(-61-e)*math.Log10(2))) + 347
	index := k>>3 + 1
	return cachedPowers[index], 348 - index*8
}

// cachedPowers are 10^-348, 10^-340, ... 10^340, rounded to 64 bits.
var cachedPowers = func() (powers [87]float) {
	for i := range powers {
		exponent := int64(i*8 - 348)
		power := new(big.Int).Exp(big.NewInt(10), big.NewInt(max(exponent, -exponent)), nil)
		v := new(big.Float).SetPrec(64).SetInt(power)
		if exponent < 0 {
			v.Quo(big.NewFloat(1), new(big.Float).SetInt(power))
		}
		mantissa := new(big.Float)
		binary := v.MantExp(mantissa)
		f, _ := mantissa.SetMantExp(mantissa, 64).Uint64()
		powers[i] = float{f, binary - 64}
	}
	return powers
}()
