// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// clsactPriority is a place of its own, before the 49152 and more that tc
	// hands out by itself.
	clsactPriority = 7
	clsactName     = "conntap"
)

// clsactFilter is a program attached to a clsact qdisc, which stands in for TCX
// below kernel 6.6. Unlike a bpf_link it outlives its process; the process's id
// is the filter's handle, so that the next start can tell what was left behind.
type clsactFilter struct {
	// handle's socket belongs to the network namespace of the interface.
	handle *netlink.Handle
	filter netlink.BpfFilter
	qdisc  *netlink.Clsact // nil if it was there before
}

// attachClsact attaches program to the interface's clsact qdisc, which it adds
// where there is none. Parent is netlink.HANDLE_MIN_INGRESS or
// HANDLE_MIN_EGRESS. Close detaches.
func attachClsact(index int, parent uint32, program *ebpf.Program) (*clsactFilter, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	c := &clsactFilter{handle: handle, filter: netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: index, Parent: parent, Priority: clsactPriority,
			Handle: uint32(os.Getpid()), Protocol: unix.ETH_P_ALL,
		},
		Fd: program.FD(), Name: clsactName, DirectAction: true,
	}}
	if err := c.add(index); err != nil {
		handle.Close()
		return nil, err
	}
	return c, nil
}

func (c *clsactFilter) add(index int) error {
	if err := removeLeftovers(c.handle, index, c.filter.Parent); err != nil {
		return err
	}
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
	switch err := c.handle.QdiscAdd(qdisc); {
	case err == nil:
		c.qdisc = qdisc
	case !errors.Is(err, fs.ErrExist):
		return fmt.Errorf("adding a clsact qdisc: %w%s", err, moduleHint(err, "sch_ingress"))
	}
	if err := c.handle.FilterAdd(&c.filter); err != nil {
		err = fmt.Errorf("adding a clsact filter: %w%s", err, moduleHint(err, "cls_bpf"))
		return errors.Join(err, c.removeQdisc())
	}
	return nil
}

// moduleHint names the kernel module that may be missing.
func moduleHint(err error, module string) string {
	if errors.Is(err, fs.ErrNotExist) {
		return " (try: modprobe " + module + ")"
	}
	return ""
}

// Close removes the filter, and the qdisc if it came with the filter and nobody
// else uses it by now.
func (c *clsactFilter) Close() error {
	defer c.handle.Close()
	if err := c.handle.FilterDel(&c.filter); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("removing the clsact filter: %w", err)
	}
	return c.removeQdisc()
}

func (c *clsactFilter) removeQdisc() error {
	if c.qdisc == nil {
		return nil
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		filters, err := clsactFilters(c.handle, c.qdisc.LinkIndex, parent)
		if err != nil || len(filters) > 0 {
			return err
		}
	}
	err := c.handle.QdiscDel(c.qdisc)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("removing the clsact qdisc: %w", err)
	}
	return nil
}

// clsactFilters are the filters at one side of an interface's clsact qdisc; none
// if it has no such qdisc.
func clsactFilters(handle *netlink.Handle, index int, parent uint32) ([]netlink.Filter, error) {
	device := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: index}}
	filters, err := handle.FilterList(device, parent)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return nil, nil // no qdisc, or gone with its interface
	}
	if err != nil {
		return nil, fmt.Errorf("listing the filters of the clsact qdisc: %w", err)
	}
	return filters, nil
}

// removeLeftovers removes filters that a conntap left behind when it was killed.
func removeLeftovers(handle *netlink.Handle, index int, parent uint32) error {
	filters, err := clsactFilters(handle, index, parent)
	if err != nil {
		return err
	}
	for _, filter := range filters {
		left, ok := filter.(*netlink.BpfFilter)
		if !ok || !isLeftover(left) {
			continue
		}
		if err := handle.FilterDel(left); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the filter that process %d left behind: %w", left.Handle, err)
		}
	}
	return nil
}

// isLeftover tells whether a filter is conntap's and no process has its program
// open any more. When in doubt it is not.
func isLeftover(filter *netlink.BpfFilter) bool {
	if filter.Priority != clsactPriority || filter.Name != clsactName {
		return false
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", filter.Handle)); errors.Is(err, fs.ErrNotExist) {
		return true
	}
	pid, err := programProcess(uint32(filter.Id))
	return err == nil && pid == 0
}
