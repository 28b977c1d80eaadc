// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// driverCounter is a counter of a driver, by the name that ethtool -S shows.
type driverCounter struct {
	name  string
	value uint64
}

const (
	ethtoolStringLength = 32 // linux/ethtool.h, ETH_GSTRING_LEN
	ethtoolStatistics   = 1  // enum ethtool_stringset, ETH_SS_STATS
	ethtoolMaxCounters  = 65536
)

// driverCounters reads all counters of an interface in the calling thread's
// network namespace. There may be none.
func driverCounters(name string) ([]driverCounter, error) {
	// struct ethtool_sset_info with one set: command, reserved, mask, length.
	info := make([]byte, 20)
	binary.NativeEndian.PutUint32(info, unix.ETHTOOL_GSSET_INFO)
	binary.NativeEndian.PutUint64(info[8:], 1<<ethtoolStatistics)
	if err := ethtool(name, info); err != nil {
		return nil, fmt.Errorf("%s: reading the driver's counters: %w", name, err)
	}
	n := binary.NativeEndian.Uint32(info[16:])
	if n == 0 || n > ethtoolMaxCounters {
		return nil, nil
	}
	// struct ethtool_gstrings: command, set, length, names; struct ethtool_stats:
	// command, length, values.
	names := make([]byte, 12+n*ethtoolStringLength)
	values := make([]byte, 8+n*8)
	binary.NativeEndian.PutUint32(names, unix.ETHTOOL_GSTRINGS)
	binary.NativeEndian.PutUint32(names[4:], ethtoolStatistics)
	binary.NativeEndian.PutUint32(names[8:], n)
	binary.NativeEndian.PutUint32(values, unix.ETHTOOL_GSTATS)
	binary.NativeEndian.PutUint32(values[4:], n)
	for _, request := range [][]byte{names, values} {
		if err := ethtool(name, request); err != nil {
			return nil, fmt.Errorf("%s: reading the driver's counters: %w", name, err)
		}
	}
	counters := make([]driverCounter, n)
	for i := range counters {
		counters[i].name = unix.ByteSliceToString(names[12+i*ethtoolStringLength:][:ethtoolStringLength])
		counters[i].value = binary.NativeEndian.Uint64(values[8+i*8:])
	}
	return counters, nil
}

// turnOnGRO turns generic receive offload on.
func turnOnGRO(name string) error {
	request := make([]byte, 8) // struct ethtool_value
	binary.NativeEndian.PutUint32(request, unix.ETHTOOL_SGRO)
	binary.NativeEndian.PutUint32(request[4:], 1)
	if err := ethtool(name, request); err != nil {
		return fmt.Errorf("%s: turning GRO on: %w", name, err)
	}
	return nil
}

// ethtoolRequest is the kernel's struct ifreq, as SIOCETHTOOL takes it.
type ethtoolRequest struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

func ethtool(name string, data []byte) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request := ethtoolRequest{data: unsafe.Pointer(&data[0])}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return errno
	}
	return nil
}
