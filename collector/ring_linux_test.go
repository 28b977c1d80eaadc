// SPDX-License-Identifier: Apache-2.0

package collector

import "github.com/cilium/ebpf"

// sampleReader reads a ring sample by sample, without a merge.
type sampleReader struct {
	*mappedRing
	last     uint64 // what next returned last starts here
	position uint64 // and ends here
}

func openSamples(m *ebpf.Map) (*sampleReader, error) {
	r, err := openRing(m)
	return &sampleReader{mappedRing: r}, err
}

// next returns the next sample, in ring memory, valid until release; nil when
// there is none, or when one is still being written.
func (r *sampleReader) next() []byte {
	r.look()
	for {
		sample, next := r.sample(r.position)
		if next == r.position {
			return nil
		}
		r.last, r.position = r.position, next
		if sample != nil {
			return sample
		}
	}
}

// release gives the room of all samples so far back to the kernel, but for the
// last one if that is still in use.
func (r *sampleReader) release(keepLast bool) {
	if keepLast {
		r.ring.release(r.last)
		return
	}
	r.ring.release(r.position)
}
