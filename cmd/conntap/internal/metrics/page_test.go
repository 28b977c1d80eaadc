// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestHealthAndIndex(t *testing.T) {
	tests := []struct {
		name   string
		health error
		status int
		want   string
	}{
		{"works", nil, http.StatusOK, "ok\n"},
		{"the log fails", errors.New("conn.log: <no space left>"), http.StatusServiceUnavailable, "conn.log: <no space left>\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, err := Listen(":0")
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			server.Serve("1.2.3", sample, func() error { return tt.health })
			root := strings.TrimSuffix(server.URL(), "metrics")
			if got := get(t, root+"healthz", tt.status); got != tt.want {
				t.Errorf("/healthz: want %q, got %q", tt.want, got)
			}
			page := get(t, root, http.StatusOK)
			escaped := strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(strings.TrimSpace(tt.want))
			for _, want := range []string{"<h1>conntap 1.2.3</h1>", `href="metrics"`, `href="healthz"`, ": " + escaped + "\n"} {
				if !strings.Contains(page, want) {
					t.Errorf("want %s in the page, got\n%s", want, page)
				}
			}
		})
	}
}
