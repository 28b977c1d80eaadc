// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// repositoryRoot is the way from this package to the root.
const repositoryRoot = "../.."

// TestReadme runs the commands of the README that it shows the output of, as at
// a terminal, and compares.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(repositoryRoot, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	examples := shownCommands(string(readme))
	if len(examples) == 0 || examples[0].command != "conntap read hack/first.pcap" {
		t.Fatalf("the README's first command with output is not conntap read hack/first.pcap, but one of %v", examples)
	}
	binaries := t.TempDir()
	build := exec.Command("go", "build", "-o", binaries, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	for _, example := range examples {
		t.Run(example.command, func(t *testing.T) {
			got, err := atTerminal(example.command, binaries)
			if err != nil {
				t.Fatal(err)
			}
			if got != example.output {
				t.Errorf("want, as in the README:\n%s\ngot:\n%s", example.output, got)
			}
		})
	}
}

type example struct{ command, output string }

// shownCommands are the conntap commands in the README's console blocks that
// are followed by their output.
func shownCommands(readme string) []example {
	var examples []example
	for block := range strings.SplitSeq(readme, "```console\n") {
		block, _, _ = strings.Cut(block, "```")
		for lines := range strings.SplitSeq("\n"+block, "\n$ ") {
			command, output, _ := strings.Cut(lines, "\n")
			if strings.HasPrefix(command, "conntap ") && output != "" {
				examples = append(examples, example{command, strings.TrimRight(output, "\n")})
			}
		}
	}
	return examples
}

// atTerminal runs a shell command in the repository's root with its output on a
// terminal without colour, and returns what came out on it.
func atTerminal(command, path string) (string, error) {
	master, terminal, err := openTerminal()
	if err != nil {
		return "", err
	}
	defer master.Close()
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = repositoryRoot
	cmd.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"), "TERM=dumb")
	cmd.Stdout, cmd.Stderr = terminal, terminal
	err = cmd.Start()
	terminal.Close()
	if err != nil {
		return "", err
	}
	out, err := io.ReadAll(master)
	if errors.Is(err, unix.EIO) { // a terminal's end of file
		err = nil
	}
	text := strings.TrimRight(strings.ReplaceAll(string(out), "\r\n", "\n"), "\n")
	return text, errors.Join(err, cmd.Wait())
}

// openTerminal opens a pseudo-terminal of 120 columns.
func openTerminal() (master, terminal *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 120})
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
	}
	return master, terminal, err
}
