// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"conntap/cmd/conntap/internal/config"
)

// configFlags say where the values of flags come from that the command line does not
// give; read and run share them.
type configFlags struct {
	file     string
	settings *config.Settings // set by configure
}

func (f *configFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.file, config.FileFlag, "", "take flags that are not given here from the environment (CONNTAP_LOG_DIR for\n"+
		"--log-dir), then from this `file`: TOML, such as log-dir = \"/var/log/conntap\"")
}

// configure completes the flags of c. Errors are mistakes of the user.
func (f *configFlags) configure(c *cobra.Command) (err error) {
	f.settings, err = config.Load(c.Flags(), config.Path(c.Flags()), os.Environ())
	return err
}
