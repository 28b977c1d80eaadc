// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"strings"
	"testing"

	"conntap/bpf"
	"conntap/tracker"
)

func TestContainerOf(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	tests := []struct{ name, path, want string }{
		{"Docker with systemd", "/system.slice/docker-" + id + ".scope", id},
		{"Docker without", "/docker/" + id, id},
		{"a group inside", "/docker/" + id + "/init.scope", id},
		{"containerd", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-" + id + ".scope", id},
		{"containerd without systemd", "/kubepods/besteffort/pod1/" + id, id},
		{"nerdctl", "/system.slice/nerdctl-" + id + ".scope", id},
		{"CRI-O", "/kubepods.slice/kubepods-pod1.slice/crio-" + id + ".scope/container", id},
		{"Podman", "/machine.slice/libpod-" + id + ".scope/container", id},
		{"Podman without root", "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope", id},
		{"the innermost of two", "/docker/" + strings.Repeat("f", 64) + "/docker/" + id, id},
		{"Podman's monitor", "/machine.slice/libpod-conmon-" + id + ".scope", ""},
		{"CRI-O's monitor", "/system.slice/crio-conmon-" + id + ".scope", ""},
		{"a service", "/system.slice/docker.service", ""},
		{"anybody's hash", "/builds/" + id, ""},
		{"too short an id", "/docker/" + id[:12], ""},
		{"upper case", "/docker/" + strings.ToUpper(id), ""},
		{"root", "/", ""},
		{"not known", "", ""},
	}
	for _, tt := range tests {
		if got := containerOf(tt.path); got != tt.want {
			t.Errorf("%s: %s: want %q, got %q", tt.name, tt.path, tt.want, got)
		}
	}
}

func TestProcessColumns(t *testing.T) {
	id := strings.Repeat("0a", 32)
	owner := bpf.Owner{PID: 1234, UID: 0, Cgroup: 4711, Comm: [16]byte{'a', '\t', 'b'}}
	tests := []struct {
		name string
		conn tracker.Conn
		want string
	}{
		{"none", tracker.Conn{Cgroup: "/"}, "-\t-\t-\t-\t-"},
		{"a service", tracker.Conn{Owner: owner, Cgroup: "/system.slice/a.service"}, "1234\ta\\x09b\t0\t/system.slice/a.service\t-"},
		{"a container", tracker.Conn{Owner: owner, Cgroup: "/docker/" + id}, "1234\ta\\x09b\t0\t/docker/" + id + "\t" + id},
		{"a group that was gone", tracker.Conn{Owner: owner}, "1234\ta\\x09b\t0\t4711\t-"},
	}
	for _, tt := range tests {
		var out strings.Builder
		w, err := NewWriter(&out, Config{Format: TSV, With: Process, Fields: []string{"pid", "process", "process_uid", "cgroup", "container"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(&tt.conn); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "\n"+tt.want+"\n") {
			t.Errorf("%s: want %q, got\n%s", tt.name, tt.want, out.String())
		}
	}
}
