// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// classicLayout is the time in the default names of red and text files.
const classicLayout = "06-01-02_15.04.05"

const day = 24 * time.Hour

// periodStart is when the period began that t is in: periods are multiples of interval
// since local midnight, as in Zeek (util.cc, calc_next_rotate), and those of whole days
// begin at midnight whatever the clock is changed to in between.
func periodStart(t time.Time, interval time.Duration) time.Time {
	year, month, date := t.Date()
	if interval >= day && interval%day == 0 {
		number := int(time.Date(year, month, date, 0, 0, 0, 0, time.UTC).Unix() / int64(day/time.Second))
		return time.Date(year, month, date-number%int(interval/day), 0, 0, 0, 0, t.Location())
	}
	midnight := time.Date(year, month, date, 0, 0, 0, 0, t.Location())
	return midnight.Add(t.Sub(midnight) / interval * interval)
}

// naming is how the files of a log are called.
type naming struct {
	base, ext string // conn and .log; red.TAG and nothing
	layout    string // of the time between them
	rotated   *regexp.Regexp
}

// namingOf tells the names of rotated files by the name of the current one: conn.log
// becomes conn.2026-03-04-05-00-00.log, as in Zeek 8 (base/frameworks/logging/main.zeek,
// Log::rotation_format_func), red.TAG becomes red.TAG.26-03-04_05.00.00.
func namingOf(name string) naming {
	n := naming{base: name, layout: classicLayout}
	stamp := `\d\d-\d\d-\d\d_\d\d\.\d\d\.\d\d`
	if base, isLog := strings.CutSuffix(name, ".log"); isLog {
		n = naming{base: base, ext: ".log", layout: stampLayout}
		stamp = `\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d`
	}
	n.rotated = regexp.MustCompile(`^` + regexp.QuoteMeta(n.base) + `\.` + stamp + `(?:_\d+)?` + regexp.QuoteMeta(n.ext) + `(\.gz|\.zst)?$`)
	return n
}

// free is a name for the file that was opened at a time, a number behind it if there is
// such a file, compressed or not.
func (n *naming) free(dir string, opened time.Time) (string, error) {
	base := n.base + "." + opened.Format(n.layout)
	for i := 0; ; i++ {
		name := base + n.ext
		if i > 0 {
			name = fmt.Sprintf("%s_%d%s", base, i, n.ext)
		}
		taken, err := anyExists(dir, name, name+Gzip.suffix(), name+Zstd.suffix())
		if err != nil || !taken {
			return name, err
		}
	}
}

func anyExists(dir string, names ...string) (bool, error) {
	for _, name := range names {
		_, err := os.Lstat(filepath.Join(dir, name))
		if !errors.Is(err, fs.ErrNotExist) {
			return err == nil, err
		}
	}
	return false, nil
}

// isRotated tells whether a file is a rotated one of the log, and compressed.
func (n *naming) isRotated(name string) (rotated, compressed bool) {
	match := n.rotated.FindStringSubmatch(name)
	return match != nil, match != nil && match[1] != ""
}
