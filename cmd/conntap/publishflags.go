// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"conntap/tracker/connlog"
)

// publishFlags say what a log tells those who get it: who saw the connections, and
// what stands in place of addresses.
type publishFlags struct {
	sensor    string
	anonymize string

	how *connlog.Anonymization // after load; nil for addresses as they are
}

func (f *publishFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.sensor, "sensor", "", "`name` of who saw the connections, in the column sensor of tsv and json")
	fs.StringVar(&f.anonymize, "anonymize", "", "`how` to hide addresses: cryptopan:KEYFILE replaces them, the same by the same\n"+
		"key, prefixes kept; truncate:24,48 keeps so many bits of IPv4 and IPv6")
}

// check finds what the flags can't mean. It reads no file.
func (f *publishFlags) check() error {
	if len(f.sensor) > maxSensor || !utf8.ValidString(f.sensor) {
		return fmt.Errorf("--sensor %.20q...: want at most %d bytes of UTF-8", f.sensor, maxSensor)
	}
	if strings.ContainsFunc(f.sensor, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return fmt.Errorf("--sensor %q: want printable characters", f.sensor)
	}
	switch method, value, _ := strings.Cut(f.anonymize, ":"); {
	case f.anonymize == "":
	case method == "cryptopan" && value != "":
	case method == "truncate" && value != "":
		if _, err := parseTruncate(value, ""); err != nil {
			return fmt.Errorf("--anonymize %s: %w", f.anonymize, err)
		}
	default:
		return fmt.Errorf("--anonymize %s: want cryptopan:KEYFILE, or truncate:24,48 for what to keep of IPv4 and IPv6", f.anonymize)
	}
	return nil
}

// maxSensor bounds what stands in every row, in bytes.
const maxSensor = 255

// load reads the key, once. The seed makes uids where there is no key.
func (f *publishFlags) load(seed string) (err error) {
	if f.how != nil || f.anonymize == "" {
		return nil
	}
	method, value, _ := strings.Cut(f.anonymize, ":")
	if method == "truncate" {
		f.how, err = parseTruncate(value, seed)
		return err
	}
	key, err := readKey(value)
	if err != nil {
		return fmt.Errorf("--anonymize: %w", err)
	}
	f.how = connlog.CryptoPAn(key)
	return nil
}

// parseTruncate reads "24,48".
func parseTruncate(value, seed string) (*connlog.Anonymization, error) {
	first, second, found := strings.Cut(value, ",")
	ipv4, err4 := strconv.Atoi(first)
	ipv6, err6 := strconv.Atoi(second)
	if !found || err4 != nil || err6 != nil {
		return nil, errors.New("want two numbers of bits, of IPv4 and IPv6, such as 24,48")
	}
	return connlog.Truncate(ipv4, ipv6, seed)
}

// readKey reads a key that nobody else can read.
func readKey(path string) (key connlog.CryptoPAnKey, err error) {
	file, err := os.Open(path)
	if err != nil {
		return key, fmt.Errorf("open key: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return key, fmt.Errorf("look at key: %w", err)
	}
	if others := info.Mode().Perm() & 0o007; others != 0 {
		return key, fmt.Errorf("key %s is open to all users (mode %#o), and with it the addresses: chmod o= %s, or take a new one",
			path, info.Mode().Perm(), path)
	}
	const longest = 1 << 10
	text, err := io.ReadAll(io.LimitReader(file, longest))
	if err != nil {
		return key, fmt.Errorf("read key: %w", err)
	}
	if key, err = connlog.ParseCryptoPAnKey(text); err != nil {
		return key, fmt.Errorf("key %s: %w: head -c 32 /dev/urandom > %s makes one", path, err, path)
	}
	return key, nil
}
