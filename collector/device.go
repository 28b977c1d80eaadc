// SPDX-License-Identifier: Apache-2.0

package collector

// DeviceDrops are the incoming frames that an interface dropped by itself, as the
// kernel counts them (linux/if_link.h, struct rtnl_link_stats64), since the capture
// began. They stand beside the account of frames and are no part of it.
type DeviceDrops struct {
	Interface string
	// Dropped is rx_dropped: what the device had no buffer for. The kernel counts here
	// too what it throws away after the hook, such as frames of protocols that it does
	// not speak.
	Dropped uint64
	// Missed is rx_missed_errors: the device had no room.
	Missed uint64
	// FIFO is rx_fifo_errors: the device's queue overran.
	FIFO uint64
}

// since are the drops after those of an earlier look. A driver that was loaded again
// has begun from 0.
func (d DeviceDrops) since(start *DeviceDrops) DeviceDrops {
	d.Dropped -= min(d.Dropped, start.Dropped)
	d.Missed -= min(d.Missed, start.Missed)
	d.FIFO -= min(d.FIFO, start.FIFO)
	return d
}

// add adds up what several interfaces dropped.
func (d *DeviceDrops) add(other *DeviceDrops) {
	d.Dropped += other.Dropped
	d.Missed += other.Missed
	d.FIFO += other.FIFO
}
