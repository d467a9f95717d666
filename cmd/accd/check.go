package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"accd/policy"

	"github.com/spf13/cobra"
)

// defaultConfig is where the daemon and its service look for the configuration.
const defaultConfig = "/etc/accd/accd.yaml"

func checkCommand() *cobra.Command {
	var out output
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "Tell all errors and warnings of a configuration file",
		Args:  one("check takes one file: accd check " + defaultConfig),
		RunE: func(c *cobra.Command, args []string) error {
			table, problems, err := load(args[0])
			if err != nil {
				return err
			}
			if out.json() {
				if problems.List == nil {
					problems.List = []policy.Problem{}
				}
				if err := out.write(c.OutOrStdout(), problems); err != nil {
					return err
				}
			} else {
				fmt.Fprint(c.OutOrStdout(), problems)
			}
			if table == nil {
				return &exitError{code: exitConfig}
			}
			if !out.json() && len(problems.List) == 0 {
				n := len(table.Verdicts())
				fmt.Fprintf(c.OutOrStdout(), "%s: valid, %d rule%s\n", args[0], n, plural(n))
			}
			return nil
		},
	}
	out.flag(c)
	return c
}

// load reads and parses a configuration file. The error is about the file;
// problems are about what stands in it.
func load(path string) (*policy.Table, *policy.Problems, error) {
	src, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, fail(exitConfig, "there is no configuration file %s: begin with a copy of deploy/accd.yaml, or name another", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, nil, fail(exitPermission, "configuration: %w", err)
	case err != nil:
		return nil, nil, fail(exitConfig, "configuration: %w", err)
	}
	table, problems := policy.Parse(path, src)
	return table, problems, nil
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}
