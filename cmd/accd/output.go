package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// output is the choice between a table for people and JSON for programs.
type output string

func (o *output) flag(c *cobra.Command) {
	*o = "table"
	c.Flags().VarP(o, "output", "o", "table or json")
}

func (o *output) json() bool { return *o == "json" }

// String, Set and Type are those of pflag.Value.
func (o *output) String() string { return string(*o) }

// Set refuses formats that do not exist.
func (o *output) Set(s string) error {
	if s != "table" && s != "json" {
		return fmt.Errorf("unknown format %q (accepted: table, json)", s)
	}
	*o = output(s)
	return nil
}

// Type is what the help calls the value.
func (o *output) Type() string { return "format" }

func (o *output) write(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
