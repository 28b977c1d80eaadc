// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestExampleReload holds the marks (r) of the example, each at what follows up to an
// empty line, against what a reload takes over.
func TestExampleReload(t *testing.T) {
	text, err := os.ReadFile("../../hack/conntap.toml")
	if err != nil {
		t.Fatal(err)
	}
	setting := regexp.MustCompile(`(?m)^#?([a-z-]+) = `)
	for paragraph := range strings.SplitSeq(string(text), "\n\n") {
		for _, match := range setting.FindAllStringSubmatch(paragraph, -1) {
			marked := strings.Contains(paragraph, "(r)\n")
			if marked != (reloadable[match[1]] != nil) {
				t.Errorf("%s: marked as reloadable: %t", match[1], marked)
			}
		}
	}
}

// TestExampleConfiguration loads the example as it stands, and with all that it only
// shows.
func TestExampleConfiguration(t *testing.T) {
	text, err := os.ReadFile("../../hack/conntap.toml")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`(?m)^#([a-z])`)
	if len(shown.FindAll(text, -1)) < 10 {
		t.Fatal("the example shows next to nothing")
	}
	for name, text := range map[string][]byte{"as it stands": text, "all": shown.ReplaceAll(text, []byte("$1"))} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "conntap.toml")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			c, f := runCommand()
			f.file = path
			if err := f.complete(c); err != nil {
				t.Error(err)
			}
			if len(f.interfaces) != 1 || f.interfaces[0] != "eth0" || f.dir != "/var/log/conntap" {
				t.Errorf("want eth0 and /var/log/conntap, got %q and %q", f.interfaces, f.dir)
			}
		})
	}
}
