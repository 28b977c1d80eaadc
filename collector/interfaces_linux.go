// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// errNoInterface means that there is none of that name.
var errNoInterface = errors.New("no interface is called")

// findInterface gathers the facts about the interface called name in the
// calling thread's network namespace.
func findInterface(name string) (*Interface, error) {
	if name == "any" {
		return nil, errors.New(`"any" is not a device; --all captures on all interfaces, -i once per interface on some`)
	}
	device, err := netlink.LinkByName(name)
	var unknown netlink.LinkNotFoundError
	if errors.As(err, &unknown) {
		return nil, fmt.Errorf("%w %q; there are: %s", errNoInterface, name, interfaceNames())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: reading the interface's state: %w", name, err)
	}
	addresses, err := interfaceAddresses(device)
	if err != nil {
		return nil, fmt.Errorf("%s: reading the interface's addresses: %w", name, err)
	}
	attrs := device.Attrs()
	found := &Interface{
		Name: attrs.Name, Index: attrs.Index, Kind: device.Type(), Link: attrs.EncapType, MTU: attrs.MTU,
		Up: attrs.Flags&unix.IFF_UP != 0, Addresses: addresses, Queues: max(attrs.NumRxQueues, 1),
	}
	found.running = attrs.RawFlags&(unix.IFF_UP|unix.IFF_LOWER_UP) == unix.IFF_UP|unix.IFF_LOWER_UP
	if attrs.Xdp != nil && attrs.Xdp.Attached {
		found.XDPProgram = attrs.Xdp.ProgId
	}
	found.askDriver()
	return found, nil
}

// askDriver fills in what ethtool knows. Software interfaces know less, so that
// errors are no failure.
func (i *Interface) askDriver() {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(socket)
	if info, err := unix.IoctlGetEthtoolDrvinfo(socket, i.Name); err == nil {
		i.Driver = unix.ByteSliceToString(info.Driver[:])
	}
	if queues := ethtoolQueues(socket, i.Name); queues > 0 {
		i.Queues = queues
	}
}

// interfaceAddresses are device's addresses but the IPv6 link-local ones.
func interfaceAddresses(device netlink.Link) ([]netip.Addr, error) {
	list, err := netlink.AddrList(device, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	addresses := make([]netip.Addr, 0, len(list))
	for _, entry := range list {
		address, ok := netip.AddrFromSlice(entry.IP)
		address = address.Unmap()
		if ok && !(address.Is6() && address.IsLinkLocalUnicast()) {
			addresses = append(addresses, address)
		}
	}
	return addresses, nil
}

// packetUsers says what on this machine lives on the packets of an interface: its own
// addresses, a bridge or bond that it is a port of, VLANs and tunnels on it.
func packetUsers(i *Interface) ([]string, error) {
	var users []string
	if len(i.Addresses) > 0 {
		users = append(users, "has the address "+i.Addresses[0].String())
	}
	list, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("%s: looking for what uses its packets: %w", i.Name, err)
	}
	master := 0
	for _, device := range list {
		if attrs := device.Attrs(); attrs.Index == i.Index {
			master = attrs.MasterIndex
		}
	}
	for _, device := range list {
		attrs := device.Attrs()
		switch {
		case attrs.Index == i.Index:
		case attrs.Index == master:
			users = append(users, "is a port of "+attrs.Name)
		case attrs.ParentIndex == i.Index && device.Type() != "veth": // to a veth that is its peer
			users = append(users, "carries "+attrs.Name)
		}
	}
	return users, nil
}

func interfaceNames() string {
	list, err := netlink.LinkList()
	if err != nil {
		return "(the kernel does not say)"
	}
	names := make([]string, len(list))
	for i, device := range list {
		names[i] = device.Attrs().Name
	}
	return strings.Join(names, ", ")
}

// InterfacesUp are the names of a namespace's interfaces that are up, but of loopback.
func InterfacesUp(namespace string) (names []string, err error) {
	err = runInNamed(namespace, func() error {
		interfaces, err := net.Interfaces()
		if err != nil {
			return fmt.Errorf("list interfaces: %w", err)
		}
		for _, i := range interfaces {
			if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 {
				names = append(names, i.Name)
			}
		}
		return nil
	})
	return names, err
}

// ethtoolChannels is the kernel's struct ethtool_channels.
type ethtoolChannels struct {
	command                                  uint32
	maxRX, maxTX, maxOther, maxCombined      uint32
	countRX, countTX, countOther, countMixed uint32
}

// ethtoolValue is the kernel's struct ethtool_value.
type ethtoolValue struct{ command, data uint32 }

// ethtoolRequest is the kernel's struct ifreq, as SIOCETHTOOL takes it.
type ethtoolRequest struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// Bits of the word that ETHTOOL_GFLAGS yields (linux/ethtool.h, enum
// ethtool_flags).
const (
	ethtoolFlagRXVLAN = 1 << 8
	ethtoolFlagLRO    = 1 << 15
)

// ethtoolQueues is how many receive queues are in use, 0 if not known.
func ethtoolQueues(socket int, name string) int {
	channels := ethtoolChannels{command: unix.ETHTOOL_GCHANNELS}
	if ethtool(socket, name, unsafe.Pointer(&channels)) != nil {
		return 0
	}
	return int(channels.countRX + channels.countMixed)
}

// ethtoolFlags is the word of offloads that ETHTOOL_GFLAGS yields.
func ethtoolFlags(socket int, name string) (uint32, error) {
	value := ethtoolValue{command: unix.ETHTOOL_GFLAGS}
	err := ethtool(socket, name, unsafe.Pointer(&value))
	return value.data, err
}

func ethtool(socket int, name string, data unsafe.Pointer) error {
	request := ethtoolRequest{data: data}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return errno
	}
	return nil
}
