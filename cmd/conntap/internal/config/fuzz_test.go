// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// FuzzFile loads any text. What is no TOML must be refused, mistakes must have a place,
// and what is taken must be the same again from what WriteTo makes of it.
func FuzzFile(f *testing.F) {
	for _, text := range []string{
		"log-dir = 'x'\ninterface = ['a', \"b\\u00e9\"] # c\nshards = 0x1_0\nquiet = true\n", "\"log-dir\" = \"\"\"\nx\"\"\"",
		"[a]\nb = {c = 1, d.e = [1979-05-27, 07:32:00]}\n[[f]]", "ratio = 1e3\ninterval = '1h'\n", "a.b.c = inf\n", "shards = 1\nshards = 2",
	} {
		f.Add([]byte(text))
	}
	path := filepath.Join(f.TempDir(), "c.toml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Load(command(t), path, nil)
		if err != nil {
			if !strings.HasPrefix(err.Error(), path+":") {
				t.Errorf("want a place, got %v", err)
			}
			return
		}
		if err := toml.Unmarshal(bytes.TrimPrefix(text, []byte("\ufeff")), new(map[string]any)); err != nil {
			t.Errorf("%q was taken, but is no TOML: %v", text, err)
		}
		var written strings.Builder
		if _, err := s.WriteTo(&written); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(written.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := Load(command(t), path, nil)
		if err != nil {
			t.Fatalf("%q became %q: %v", text, written.String(), err)
		}
		if changed := s.Changed(again); changed != nil {
			t.Errorf("%q became %q: %q differ", text, written.String(), changed)
		}
	})
}
