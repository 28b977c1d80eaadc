// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// tree makes a file system of files by their paths.
func tree(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestGroup(t *testing.T) {
	const (
		version2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
		version1 = "30 29 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
			"31 29 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	)
	tests := []struct {
		name      string
		files     map[string]string
		limit     uint64
		throttled Throttling
	}{
		{"none", nil, 0, Throttling{}},
		{"version 2 without limits", map[string]string{
			"proc/self/mountinfo": version2, "proc/self/cgroup": "0::/user.slice\n",
			"sys/fs/cgroup/user.slice/memory.max": "max\n", "sys/fs/cgroup/user.slice/cpu.stat": "usage_usec 5\n",
		}, 0, Throttling{}},
		{"version 2, the own one", map[string]string{
			"proc/self/mountinfo": version2, "proc/self/cgroup": "0::/a.slice/b.service\n",
			"sys/fs/cgroup/a.slice/b.service/memory.max": "1000\n",
			"sys/fs/cgroup/a.slice/b.service/cpu.stat":   "usage_usec 9\nnr_periods 8\nnr_throttled 3\nthrottled_usec 250\n",
		}, 1000, Throttling{3, 250 * time.Microsecond}},
		{"version 2, one around it", map[string]string{
			"proc/self/mountinfo": version2, "proc/self/cgroup": "0::/a.slice/b.service\n",
			"sys/fs/cgroup/a.slice/b.service/memory.max": "max\n", "sys/fs/cgroup/a.slice/memory.max": "2000\n",
			"sys/fs/cgroup/a.slice/cpu.stat": "nr_throttled 1\nthrottled_usec 1\n",
			"sys/fs/cgroup/other/memory.max": "10\n",
		}, 2000, Throttling{1, time.Microsecond}},
		{"version 2, the soft limit", map[string]string{
			"proc/self/mountinfo": version2, "proc/self/cgroup": "0::/a\n",
			"sys/fs/cgroup/a/memory.max": "3000\n", "sys/fs/cgroup/a/memory.high": "2500\n",
		}, 2500, Throttling{}},
		{"a container with its own namespace", map[string]string{
			"proc/self/mountinfo":       "29 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
			"proc/self/cgroup":          "0::/\n",
			"sys/fs/cgroup/memory.max":  "4000\n",
			"sys/fs/cgroup/cpu.stat":    "nr_throttled 7\nthrottled_usec 0\n",
			"sys/fs/cgroup/memory.high": "max\n",
		}, 4000, Throttling{Periods: 7}},
		{"a container that sees its group's path, but not the way there", map[string]string{
			"proc/self/mountinfo":                          "30 29 0:27 /docker/1f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
			"proc/self/cgroup":                             "4:memory:/docker/1f/x\n",
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "9223372036854771712\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   "5000\n",
		}, 5000, Throttling{}},
		{"another namespace's path", map[string]string{
			"proc/self/mountinfo":      version2,
			"proc/self/cgroup":         "0::/../../x\n",
			"sys/fs/cgroup/memory.max": "6000\n",
		}, 6000, Throttling{}},
		{"version 1 beside 2", map[string]string{
			"proc/self/mountinfo":                          "28 23 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" + version1,
			"proc/self/cgroup":                             "4:memory:/a\n3:cpu,cpuacct:/b\n1:name=systemd:/c\n0::/d\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "7000\n",
			"sys/fs/cgroup/cpu,cpuacct/b/cpu.stat":         "nr_periods 4\nnr_throttled 2\nthrottled_time 1500\n",
			"sys/fs/cgroup/unified/d/memory.max":           "8000\n",
		}, 7000, Throttling{2, 1500}},
		{"a mount with a blank", map[string]string{
			"proc/self/mountinfo": `29 23 0:26 / /my\040groups rw - cgroup2 cgroup2 rw` + "\n", "proc/self/cgroup": "0::/a b\n",
			"my groups/a b/memory.max": "9000\n",
		}, 9000, Throttling{}},
		{"nonsense", map[string]string{
			"proc/self/mountinfo": "x\n - \n29 23 0:26 / / - cgroup2\n" + version2, "proc/self/cgroup": "\nx\n0:\n0::/\n",
			"sys/fs/cgroup/memory.max": "many\n", "sys/fs/cgroup/cpu.stat": "nr_throttled\nnr_throttled -1\nthrottled_usec x\n",
		}, 0, Throttling{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := groupBelow(tree(t, tt.files))
			if got := g.MemoryLimit(); got != tt.limit {
				t.Errorf("want a limit of %d bytes, got %d of %q", tt.limit, got, g.memory)
			}
			if got := g.Throttling(); got != tt.throttled {
				t.Errorf("want %v, got %v of %q", tt.throttled, got, g.cpu)
			}
		})
	}
}

func TestTimeWatch(t *testing.T) {
	const second = int64(time.Second)
	start := Clocks{1e18, 5e12, 4e12}
	tests := []struct {
		name                  string
		wall, boot, monotonic int64 // passed
		step, suspended       time.Duration
	}{
		{"a second", second, second, second, 0, 0},
		{"slewed as fast as it goes", second + second/10, second, second, 0, 0},
		{"an hour forward", 3601 * second, second, second, time.Hour, 0},
		{"an hour back", -3599 * second, second, second, -time.Hour, 0},
		{"a leap second", 0, second, second, -time.Second, 0},
		{"suspended", 600 * second, 600 * second, second, 0, 599 * time.Second},
		{"suspended, and the clock was wrong then", 4200 * second, 600 * second, second, time.Hour, 599 * time.Second},
		{"readings apart", second + 9e6, second, second - 9e6, 0, 0},
		{"not scheduled for a minute", 60 * second, 60 * second, 60 * second, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w TimeWatch
			if step, suspended := w.Look(start); step != 0 || suspended != 0 {
				t.Errorf("first look: want nothing, got %v and %v", step, suspended)
			}
			now := Clocks{start.Wall + tt.wall, start.Boot + tt.boot, start.Monotonic + tt.monotonic}
			if step, suspended := w.Look(now); step != tt.step || suspended != tt.suspended {
				t.Errorf("want %v and %v, got %v and %v", tt.step, tt.suspended, step, suspended)
			}
			if step, suspended := w.Look(now); step != 0 || suspended != 0 {
				t.Errorf("the same again: want nothing, got %v and %v", step, suspended)
			}
		})
	}
}

// TestReadClocks reads the real ones.
func TestReadClocks(t *testing.T) {
	var w TimeWatch
	w.Look(ReadClocks(nil))
	if step, suspended := w.Look(ReadClocks(nil)); step != 0 || suspended != 0 {
		t.Errorf("want nothing to happen meanwhile, got %v and %v", step, suspended)
	}
	stepped := ReadClocks(func() int64 { return time.Now().Add(time.Hour).UnixNano() })
	if step, _ := w.Look(stepped); step < time.Hour-time.Second || step > time.Hour+time.Second {
		t.Errorf("want a step of an hour, got %v", step)
	}
}
