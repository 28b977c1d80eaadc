// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDashboardAndRules: the metrics that the dashboard and the alerts ask for are
// served.
func TestDashboardAndRules(t *testing.T) {
	served := []string{latencyName + "_bucket", "conntap_build_info"}
	for _, f := range families {
		served = append(served, f.name)
	}
	for _, path := range []string{
		"../../../../hack/grafana/conntap.json",
		"../../../../hack/prometheus/conntap.rules.yml",
		"../../../../hack/prometheus/conntap.rules.test.yml",
	} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		asked := regexp.MustCompile(`\bconntap_[a-z_]+`).FindAllString(string(text), -1)
		if len(asked) == 0 {
			t.Errorf("%s: want metrics of conntap's, got none", path)
		}
		slices.Sort(asked)
		for _, name := range slices.Compact(asked) {
			if !slices.Contains(served, name) {
				t.Errorf("%s asks for %s, which is not served", path, name)
			}
		}
		for _, name := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(text), -1) {
			tests, err := os.ReadFile("../../../../hack/prometheus/conntap.rules.test.yml")
			if err != nil || !strings.Contains(string(tests), "alertname: "+name[1]+"\n        exp_alerts:") {
				t.Errorf("%s: want a test in which %s alerts (%v)", path, name[1], err)
			}
		}
	}
}
