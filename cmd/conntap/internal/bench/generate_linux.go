// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"

	"github.com/vishvananda/netlink"

	"conntap/cmd/conntap/internal/affinity"
)

// Generate puts a load on the veth interface of that name, whose other end must
// have native XDP or GRO. Other devices are refused: behind them may be a network.
func Generate(ctx context.Context, load Load, name string) (*Generated, error) {
	device, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if device.Type() != "veth" {
		return nil, fmt.Errorf("%s is no veth interface: frames are sent into those only, for they would flood a network", name)
	}
	allowed, err := affinity.Allowed()
	if err != nil {
		return nil, err
	}
	producers := allowed[max(len(allowed)-load.Producers, 0):]
	g, err := newGenerator(load, device.Attrs().Index, producers, func() error { return nil })
	if err != nil {
		return nil, err
	}
	defer g.close()
	before, err := driverCounters(name)
	if err != nil {
		return nil, err
	}
	made, err := g.run(ctx)
	if err != nil {
		return nil, err
	}
	after, err := driverCounters(name)
	if err != nil {
		return nil, err
	}
	taken := func(counters []driverCounter) uint64 { return queueSum(counters, "tx_queue_", "_xdp_xmit") }
	return &Generated{Frames: made.frames, Taken: taken(after) - taken(before), Seconds: made.elapsed.Seconds()}, nil
}
