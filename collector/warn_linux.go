// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// warnings tells what the user should know before anything is attached. With identity,
// duplicates are taken out.
func warnings(warn func(string), interfaces []*Interface, plans []plan, identity bool) {
	server := sshServerAddress()
	var addressed []string
	for slot, i := range interfaces {
		if !i.Up {
			warn(fmt.Sprintf("%s is down: nothing comes until: ip link set %s up", i.Name, i.Name))
		}
		if plans[slot].ingress == ingressXDPGeneric {
			warn(fmt.Sprintf("%s: generic XDP runs after packets were merged (GRO): counts of packets are too low; "+
				"ethtool -K %s gro off, or --capture tcx", i.Name, i.Name))
		}
		if plans[slot].ingress == ingressXDP && slices.Contains(i.Addresses, server) {
			warn(fmt.Sprintf("%s carries this SSH session: native XDP resets the queues of some drivers, so it may "+
				"stand still for seconds; --capture tcx does not", i.Name))
		}
		if len(i.Addresses) > 0 && plans[slot].ingress != ingressNone && plans[slot].egress {
			addressed = append(addressed, i.Name)
		}
	}
	if len(addressed) > 1 && !identity {
		warn(fmt.Sprintf("%s are captured in both directions: what is forwarded between them is seen twice; "+
			"--direction in sees it once, or --dedup counts it once", strings.Join(addressed, ", ")))
	}
}

// sshServerAddress is this machine's end of the SSH session that the process
// belongs to; not valid if there is none. sudo forgets SSH_CONNECTION, its
// ancestors remember.
func sshServerAddress() netip.Addr {
	if server, ok := sshServer(os.Getenv("SSH_CONNECTION")); ok {
		return server
	}
	for pid := os.Getppid(); pid > 1; pid = parentProcess(pid) {
		environment, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		for variable := range bytes.SplitSeq(environment, []byte{0}) {
			value, found := strings.CutPrefix(string(variable), "SSH_CONNECTION=")
			if server, ok := sshServer(value); found && ok {
				return server
			}
		}
	}
	return netip.Addr{}
}

// sshServer takes the server's address out of SSH_CONNECTION: client address and
// port, server address and port.
func sshServer(connection string) (netip.Addr, bool) {
	fields := strings.Fields(connection)
	if len(fields) != 4 {
		return netip.Addr{}, false
	}
	server, err := netip.ParseAddr(fields[2])
	return server.Unmap().WithZone(""), err == nil
}

// parentProcess is the parent of process pid, 0 if it is not known.
func parentProcess(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// "pid (name) state parent ...", and the name may hold anything.
	end := bytes.LastIndexByte(status, ')')
	var state string
	var parent int
	if _, err := fmt.Sscan(string(status[end+1:]), &state, &parent); err != nil {
		return 0
	}
	return parent
}
