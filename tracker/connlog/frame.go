// SPDX-License-Identifier: Apache-2.0

package connlog

// frame is what stands around the rows of each file of a log.
type frame struct {
	cfg     *Config
	columns []column
}

// header appends what comes before the first row; nothing, if the format has none.
func (f *frame) header(b []byte) []byte {
	if f.cfg.Format != TSV {
		return b
	}
	return appendZeekHeader(b, f.cfg, f.columns)
}

// footer appends what comes behind the last row.
func (f *frame) footer(b []byte) []byte {
	if f.cfg.Format != TSV {
		return b
	}
	return appendZeekFooter(b, f.cfg.Now())
}
