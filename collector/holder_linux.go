// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// findHolder gathers what can be known about program id.
func findHolder(hook string, id uint32) Holder {
	h := Holder{Hook: hook, Program: id, Name: programName(id)}
	h.PID, _ = programProcess(id)
	return h
}

func programName(id uint32) string {
	program, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if err != nil {
		return ""
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil {
		return ""
	}
	return info.Name
}

// programLink is the id of a link that holds program id, 0 if none does.
func programLink(id uint32) uint32 {
	var links link.Iterator
	defer links.Close()
	for links.Next() {
		info, err := links.Link.Info()
		if err == nil && info.Program == ebpf.ProgramID(id) {
			return uint32(info.ID)
		}
	}
	return 0
}

// programProcess finds a process that has program id, or a link that holds it,
// open; 0 if there is none. The error is about processes that could not be
// looked into: any of them may be the one.
func programProcess(id uint32) (int, error) {
	// The kernel shows the program of a link's file, too (bpf_link_show_fdinfo).
	wanted := fmt.Sprintf("prog_id:\t%d", id)
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	var unreadable error
	for _, process := range processes {
		switch found, err := processHolds(process, wanted); {
		case found:
			return strconv.Atoi(filepath.Base(process))
		case errors.Is(err, os.ErrPermission):
			unreadable = err
		}
	}
	return 0, unreadable
}

// processHolds tells whether a file that process has open shows the line wanted.
func processHolds(process string, wanted string) (bool, error) {
	files, err := os.ReadDir(process + "/fd")
	if err != nil {
		return false, err
	}
	for _, file := range files {
		target, err := os.Readlink(process + "/fd/" + file.Name())
		if err == nil && strings.HasPrefix(target, "anon_inode:bpf") && fdHolds(process+"/fdinfo/"+file.Name(), wanted) {
			return true, nil
		}
	}
	return false, nil
}

func fdHolds(path string, wanted string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if lines.Text() == wanted {
			return true
		}
	}
	return false
}
