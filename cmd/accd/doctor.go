package main

import (
	"fmt"
	"io"
	"strings"

	"accd/admin"
	"accd/netcfg"

	"github.com/spf13/cobra"
)

func doctorCommand() *cobra.Command {
	var out output
	var config string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Tell what on this host keeps accd from working, and what to do about it",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			table, found, err := loadOrDefault(c, config)
			if err != nil {
				return err
			}
			if !found {
				fmt.Fprintf(c.ErrOrStderr(), "there is no %s: the host is checked for a configuration that names no interface; name yours with -c\n", config)
			}
			checks := netcfg.Doctor(plan(table, table))
			if out.json() {
				err = out.write(c.OutOrStdout(), map[string]any{"api": admin.Version, "checks": checks})
			} else {
				printChecks(c.OutOrStdout(), checks)
			}
			if err != nil {
				return err
			}
			for _, x := range checks {
				if x.Status == netcfg.Fail {
					return &exitError{code: exitUnsuitable}
				}
			}
			return nil
		},
	}
	out.flag(c)
	c.Flags().StringVarP(&config, "config", "c", defaultConfig, "configuration file to check the host for")
	return c
}

func printChecks(w io.Writer, checks []netcfg.Check) {
	counts := map[netcfg.Status]int{}
	width := 0
	for _, x := range checks {
		counts[x.Status]++
		width = max(width, len(x.Name))
	}
	for _, x := range checks {
		fmt.Fprintf(w, "%-4s  %-*s  %s\n", x.Status, width, x.Name, x.Found)
		if x.Remedy != "" {
			fmt.Fprintf(w, "      %s  → %s\n", strings.Repeat(" ", width), x.Remedy)
		}
	}
	fmt.Fprintf(w, "%d ok, %d to look at, %d in the way\n", counts[netcfg.OK], counts[netcfg.Warn], counts[netcfg.Fail])
}
