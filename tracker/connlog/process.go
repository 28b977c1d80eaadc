// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"bytes"
	"strings"

	"conntap/bpf"
	"conntap/tracker"
)

// appendProcess writes the owner's name.
func appendProcess(b []byte, owner *bpf.Owner) []byte {
	name, _, _ := bytes.Cut(owner.Comm[:], []byte{0})
	return append(b, name...)
}

// appendCgroup writes the path of the owner's control group or, of one that nobody
// knows the path of any more, its id.
func appendCgroup(b []byte, c *tracker.Conn) []byte {
	switch {
	case c.Owner.PID == 0:
		return b
	case c.Cgroup == "":
		return appendUint(b, c.Owner.Cgroup)
	}
	return append(b, c.Cgroup...)
}

// containerPrefixes are what container engines put before the id in the names of
// control groups: Docker, containerd (Kubernetes, nerdctl), CRI-O and Podman.
var containerPrefixes = []string{"docker-", "cri-containerd-", "nerdctl-", "crio-", "libpod-"}

// containerOf is the id of the container that a control group is of, the innermost
// one; "" if it is of none.
func containerOf(path string) string {
	for path != "" {
		cut := strings.LastIndexByte(path, '/')
		name := path[cut+1:]
		path = path[:max(cut, 0)]
		if id := containerID(name, path); id != "" {
			return id
		}
	}
	return ""
}

// containerID is the id in the name of a group that is in another one. A bare id is
// what engines without systemd write, in groups of their own.
func containerID(name, parent string) string {
	for _, prefix := range containerPrefixes {
		if id, found := strings.CutPrefix(name, prefix); found {
			if id = strings.TrimSuffix(id, ".scope"); isContainerID(id) {
				return id
			}
		}
	}
	if isContainerID(name) && (strings.Contains(parent, "/docker") || strings.Contains(parent, "/kubepods")) {
		return name
	}
	return ""
}

// isContainerID tells the form that all those engines use: 256 bits in lower-case hex.
func isContainerID(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}
