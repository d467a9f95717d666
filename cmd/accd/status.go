package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"accd/admin"
	"accd/terminator"

	"github.com/spf13/cobra"
)

func statusCommand() *cobra.Command {
	var a ask
	var over time.Duration
	c := &cobra.Command{
		Use:   "status",
		Short: "Tell what the running daemon does",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, ctx, cancel := a.client(c)
			defer cancel()
			st, err := client.Status(ctx)
			if err != nil {
				return classify(err)
			}
			if a.out.json() {
				return errors.Join(a.out.write(c.OutOrStdout(), st), degraded(st))
			}
			// Rates come from two looks.
			first, begin := st, time.Now()
			select {
			case <-time.After(over):
			case <-ctx.Done():
				return classify(ctx.Err())
			}
			if st, err = client.Status(ctx); err != nil {
				return classify(err)
			}
			printStatus(c.OutOrStdout(), st, first.Terminator, time.Since(begin))
			return degraded(st)
		},
	}
	a.flags(c)
	c.Flags().DurationVar(&over, "over", 500*time.Millisecond, "how long to measure rates")
	return c
}

// degraded is an error without words if the daemon does not accelerate.
func degraded(st *admin.Status) error {
	if st.State == admin.Bypassed {
		return &exitError{code: exitDegraded}
	}
	return nil
}

// printStatus shows a daemon's state; before is what it was a while ago.
func printStatus(w io.Writer, st *admin.Status, before *terminator.Status, while time.Duration) {
	t := st.Terminator
	per := func(now, then uint64) float64 { return float64(now-then) / while.Seconds() }
	fmt.Fprintf(w, "accd %s  up %s  config %s loaded %s  mode %s  %s  fail-to-%s armed\n",
		st.Version, ago(time.Since(st.Started)), st.Config.Hash, st.Config.Loaded.Local().Format("15:04"), st.Mode,
		strings.ToUpper(string(st.State)), st.FailTo)
	fmt.Fprintf(w, " flows %s (%s in custody, %s draining, %s held)   new %.0f/s\n",
		count(t.Flows), count(t.InCustody), count(t.Draining), size(t.HeldBytes), per(t.NewFlows, before.NewFlows))
	side := func(now, then *terminator.TapStatus) string {
		return fmt.Sprintf("%s in  %s out", rate(per(now.In.Bytes, then.In.Bytes)), rate(per(now.Out.Bytes, then.Out.Bytes)))
	}
	fmt.Fprintf(w, " client side %s     server side %s\n", side(&t.Client, &before.Client), side(&t.Server, &before.Server))
	fmt.Fprintf(w, " accelerated %s to servers, %s to clients; passed %s, %s\n",
		size(t.TakenBytes.ToServer), size(t.TakenBytes.ToClient), size(t.PassedBytes.ToServer), size(t.PassedBytes.ToClient))
	fmt.Fprintf(w, " memory %s of %s   %d shards   refused by the taps %s\n",
		size(t.Memory), size(t.Budget), t.Shards, count(t.Client.Refused+t.Server.Refused))
	for _, x := range []struct {
		what string
		n    map[string]uint64
	}{{"frames passed", t.Passed}, {"frames dropped", t.Dropped}, {"flows", t.Reasons}} {
		if len(x.n) > 0 {
			fmt.Fprintf(w, " %s by reason: %s\n", x.what, reasons(x.n))
		}
	}
	if t.HandoffTCP > 0 {
		fmt.Fprintf(w, " %s segments came to the wrong shard: the kernel did not keep both legs of their flows on one queue\n", count(t.HandoffTCP))
	}
	if t.Panics > 0 {
		fmt.Fprintf(w, " %s panics survived: see the log, and please report them\n", count(t.Panics))
	}
	if st.Config.LastReload != "" {
		fmt.Fprintf(w, " the last reload was refused, the old configuration stays: %s\n", st.Config.LastReload)
	}
	if len(st.Config.Restart) > 0 {
		fmt.Fprintf(w, " changed, but waiting for a restart: %s\n", strings.Join(st.Config.Restart, ", "))
	}
}
