package main

import (
	"fmt"
	"os/signal"

	"accd/lab"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func demoCommand() *cobra.Command {
	var out output
	var report string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show a whole accelerated WAN on this machine, in namespaces",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needRoot("accd demo"); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), unix.SIGINT, unix.SIGTERM)
			defer stop()
			result, err := lab.RunDemo(ctx, lab.Options{HTML: report, Progress: c.ErrOrStderr()})
			if err != nil {
				return classify(err)
			}
			if out.json() {
				return out.write(c.OutOrStdout(), result)
			}
			if err := result.WriteTable(c.OutOrStdout()); err != nil || report == "" {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "Throughput over time: %s\n", report)
			return err
		},
	}
	out.flag(c)
	c.Flags().StringVar(&report, "report", "demo-report.html", "file for the report as a page; empty for none")
	return c
}
