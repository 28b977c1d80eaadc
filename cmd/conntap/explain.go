// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"conntap/cmd/conntap/internal/explain"
)

func newExplainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain [STATE] [HISTORY] | -",
		Short: "Say in words what a state and a history mean",
		Long: `Say in words what a connection's state and history mean, and whether the two can
go together. Without arguments: the whole table. With -: the rows of a conn.log
from standard input, TSV or JSON, ours or Zeek's, field by field.`,
		Example: `  conntap explain RSTO ShADadtR
  conntap explain ShADadFf
  conntap explain
  tail -1 conn.log | conntap explain -`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 2 {
				return usage(c, fmt.Errorf("explain takes a state and a history, but got %d words", len(args)))
			}
			err := explainWords(c.OutOrStdout(), args)
			if errors.Is(err, explain.ErrUnknown) {
				return usage(c, err)
			}
			return err
		},
	}
}

func explainWords(w io.Writer, args []string) error {
	switch {
	case len(args) == 0:
		return explain.Table(w)
	case len(args) == 2:
		return explain.Pair(w, args[0], args[1])
	case args[0] == "-":
		return explain.Rows(w, os.Stdin)
	}
	return explain.Word(w, args[0])
}
