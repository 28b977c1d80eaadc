// SPDX-License-Identifier: Apache-2.0

package logread

import "testing"

func TestPrintable(t *testing.T) {
	tests := []struct{ text, want string }{
		{"http,ssl é", "http,ssl é"},
		{"", ""},
		{"\x1b[31m", `"\x1b[31m"`},
		{"two\nlines", `"two\nlines"`},
		{"no UTF-8: \x80", `"no UTF-8: \x80"`},
		{"<b>", "<b>"}, // whoever writes HTML escapes it
	}
	for _, tt := range tests {
		if got := Printable(tt.text); got != tt.want {
			t.Errorf("%q: want %s, got %s", tt.text, tt.want, got)
		}
	}
}
