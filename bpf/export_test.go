// SPDX-License-Identifier: Apache-2.0

package bpf

// ParseLayers is Parse without its short way.
func (ps *Parser) ParseLayers(data []byte, wireLength int, dst []Packet) (int, Reason) {
	return ps.parseLayers(data, wireLength, dst)
}

// ParseDirect is that short way.
func (ps *Parser) ParseDirect(data []byte, wireLength int, p *Packet) bool {
	return ps.parseDirect(data, wireLength, p)
}
