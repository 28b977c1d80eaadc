// SPDX-License-Identifier: Apache-2.0

// Package config gives a command's flags their values from a TOML file and from the
// environment, where the command line does not.
//
// It knows no flag by name: a setting is a flag's long name, and what it may be is
// what the flag's own Set takes, so that every flag can be configured as soon as it
// exists.
package config

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// FileFlag is the flag that names the file. It is no setting.
const FileFlag = "config"

// prefix begins the names of environment variables.
const prefix = "CONNTAP_"

// Settings are the values of a command's flags, and where they come from. They are for
// one goroutine.
type Settings struct {
	path    string
	flags   *pflag.FlagSet
	values  map[string]value  // by flag
	origins map[string]string // of what is not a default; "" for the command line
}

// value is a flag's value in words: one, or those of a list.
type value struct {
	words []string
	list  bool
}

func (v value) text() string { return strings.Join(v.words, ",") }

// Load sets the flags that the command line, which must have been parsed, does not
// set: to what environment (NAME=value, as os.Environ has it) says, else to what the
// file says, whose path is "" for none. A list is replaced as a whole. A flag that was
// set counts as changed. The error joins all mistakes, each with its place.
func Load(flags *pflag.FlagSet, path string, environment []string) (*Settings, error) {
	s := &Settings{path: path, flags: flags, values: make(map[string]value), origins: make(map[string]string)}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			s.origins[f.Name] = ""
		}
	})
	err := s.fromEnvironment(environment)
	if path != "" {
		err = errors.Join(err, s.fromFile(path))
	}
	s.visit(func(f *pflag.Flag) { s.values[f.Name] = valueOf(f) })
	return s, err
}

// Path is the file that they come from, "" for none.
func (s *Settings) Path() string { return s.path }

// Path is the file that the flag [FileFlag] names, else the environment; "" for none.
func Path(flags *pflag.FlagSet) string {
	if f := flags.Lookup(FileFlag); f != nil && f.Value.String() != "" {
		return f.Value.String()
	}
	return os.Getenv(variable(FileFlag))
}

// variable is the environment variable of a setting.
func variable(name string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// isSetting tells whether a flag says what the command is to do.
func isSetting(f *pflag.Flag) bool { return f.Name != FileFlag && f.Name != "help" && !f.Hidden }

// visit calls do for every setting, in the order of the help.
func (s *Settings) visit(do func(*pflag.Flag)) {
	s.flags.VisitAll(func(f *pflag.Flag) {
		if isSetting(f) {
			do(f)
		}
	})
}

// lookup is the setting of a name, nil if there is none.
func (s *Settings) lookup(name string) *pflag.Flag {
	if f := s.flags.Lookup(name); f != nil && isSetting(f) {
		return f
	}
	return nil
}

// fromEnvironment takes what the environment has. An empty variable says nothing.
func (s *Settings) fromEnvironment(environment []string) (err error) {
	for _, entry := range environment {
		key, text, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(key, prefix) || text == "" || key == variable(FileFlag) {
			continue
		}
		name := strings.ToLower(strings.ReplaceAll(key[len(prefix):], "_", "-"))
		f := s.lookup(name)
		if f == nil {
			// Others' variables begin alike, as those of a Kubernetes service.
			if near := s.nearest(name); near != "" {
				err = errors.Join(err, fmt.Errorf("environment %s: no setting, did you mean %s?", key, variable(near)))
			}
			continue
		}
		words := []string{text}
		if _, several := f.Value.(pflag.SliceValue); several {
			words = strings.Split(text, ",")
		}
		if fault := s.set(f, words, "environment "+key); fault != nil {
			err = errors.Join(err, fmt.Errorf("environment %s: %w", key, fault))
		}
	}
	return err
}

// set sets a flag that nobody set yet.
func (s *Settings) set(f *pflag.Flag, words []string, origin string) error {
	if _, set := s.origins[f.Name]; set {
		return nil
	}
	s.origins[f.Name] = origin
	for _, word := range words {
		if err := f.Value.Set(word); err != nil {
			return fmt.Errorf("%q: %w", word, reason(err))
		}
	}
	f.Changed = true
	return nil
}

// reason is what the user can do about an error of a flag's Set.
func reason(err error) error {
	var number *strconv.NumError
	switch {
	case !errors.As(err, &number):
		return err
	case errors.Is(err, strconv.ErrRange):
		return number.Err
	case number.Func == "ParseBool":
		return errors.New("want true or false")
	case number.Func == "ParseFloat":
		return errors.New("want a number")
	}
	return errors.New("want a whole number")
}

// valueOf is a flag's value at the moment.
func valueOf(f *pflag.Flag) value {
	if several, ok := f.Value.(pflag.SliceValue); ok {
		return value{several.GetSlice(), true}
	}
	return value{[]string{f.Value.String()}, false}
}

// Changed are the settings of which other, of the same command, has another value.
func (s *Settings) Changed(other *Settings) (names []string) {
	s.visit(func(f *pflag.Flag) {
		if s.values[f.Name].text() != other.values[f.Name].text() {
			names = append(names, f.Name)
		}
	})
	return names
}

// Adopt takes over the values of other, with where they come from, of some settings.
func (s *Settings) Adopt(other *Settings, names []string) {
	for _, name := range names {
		s.values[name] = other.values[name]
		if origin, given := other.origins[name]; given {
			s.origins[name] = origin
		} else {
			delete(s.origins, name)
		}
	}
}

// Given tells whether a setting has a value that is not the default's.
func (s *Settings) Given(name string) bool {
	_, given := s.origins[name]
	return given
}

var flagName = regexp.MustCompile(`--([a-z][a-z0-9-]*)`)

// Locate puts in front of an error about flags, which it names as --flag, where their
// values come from, if that is not the command line.
func (s *Settings) Locate(err error) error {
	if err == nil {
		return nil
	}
	var places []string
	told := make(map[string]bool)
	for _, match := range flagName.FindAllStringSubmatch(err.Error(), -1) {
		name := match[1]
		if origin := s.origins[name]; origin != "" && !told[name] {
			told[name] = true
			places = append(places, origin)
		}
	}
	if len(places) == 0 {
		return err
	}
	return fmt.Errorf("%s: %w", strings.Join(places, ", "), err)
}
