// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"conntap/bpf"
	"conntap/tracker/service"
)

// mayAnnounce tells whether a packet's payload may announce connections, which all
// shards have to know of. It is cheap and errs towards yes, but for a line that
// another segment completes, and on ports where nobody speaks FTP.
func mayAnnounce(p *bpf.Packet) bool {
	if p.Protocol != bpf.ProtocolTCP || len(p.Payload) == 0 {
		return false
	}
	const ftp = 21
	return p.SrcPort == ftp || p.DstPort == ftp ||
		p.Payload[len(p.Payload)-1] == '\n' && service.MayAnnounce(p.Payload)
}
