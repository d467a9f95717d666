package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"accd/admin"
	"accd/splice"
	"accd/tcpstack"
	"accd/terminator"

	"github.com/spf13/cobra"
)

func flowsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "flows",
		Short: "Show the connections the daemon follows",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(flowsListCommand(), flowsShowCommand())
	return c
}

func flowsListCommand() *cobra.Command {
	var a ask
	var limit int
	c := &cobra.Command{
		Use:   "list",
		Short: "List connections, those in custody first",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 0 {
				return fail(exitUsage, "--limit %d: want 0 (all) or more", limit)
			}
			client, ctx, cancel := a.client(c)
			defer cancel()
			list, err := client.Flows(ctx, limit)
			if err != nil {
				return classify(err)
			}
			if a.out.json() {
				return a.out.write(c.OutOrStdout(), list)
			}
			return printFlows(c.OutOrStdout(), list)
		},
	}
	a.flags(c)
	c.Flags().IntVar(&limit, "limit", 100, "how many at most; 0 for all")
	return c
}

func flowsShowCommand() *cobra.Command {
	var a ask
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show everything about one connection",
		Args:  one("flows show takes one ID; accd flows list shows those there are"),
		RunE: func(c *cobra.Command, args []string) error {
			client, ctx, cancel := a.client(c)
			defer cancel()
			f, err := client.Flow(ctx, args[0])
			if err != nil {
				return classify(err)
			}
			if a.out.json() {
				return a.out.write(c.OutOrStdout(), f)
			}
			printFlow(c.OutOrStdout(), f)
			return nil
		},
	}
	a.flags(c)
	return c
}

func printFlows(w io.Writer, list *admin.Flows) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tCLIENT\tSERVER\tSTATE\tRULE\tAGE\tTO SERVER\tTO CLIENT\tHELD")
	for i := range list.Flows {
		f := &list.Flows[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.ID, f.Client, f.Server, f.State, f.Rule, seconds(f.AgeSeconds),
			size(f.ClientLeg.Taken+f.ClientLeg.Passed), size(f.ServerLeg.Taken+f.ServerLeg.Passed),
			size(f.ClientLeg.Held+f.ServerLeg.Held))
	}
	return t.Flush()
}

func printFlow(w io.Writer, f *terminator.Flow) {
	yes := map[bool]string{true: "yes", false: "no"}
	fmt.Fprintf(w, "flow %s  %s → %s  rule %s (line %d)  handshake %s  %s  age %s  idle %s  drainable %s\n",
		f.ID, f.Client, f.Server, f.Rule, f.RuleLine, f.Handshake, f.State, seconds(f.AgeSeconds), seconds(f.Idle), yes[f.Drainable])
	for _, leg := range []struct {
		name string
		*terminator.Leg
	}{{"client", &f.ClientLeg}, {"server", &f.ServerLeg}} {
		fmt.Fprintf(w, "%s  side %s  mss %d pmtu %d wscale %d%s%s%s  rtt %.2f/%.2fms", leg.name, leg.Network, leg.MSS, leg.PathMTU, leg.WindowScale,
			option(" sack", leg.SACK), option(" ts", leg.Timestamps), option(" ecn "+leg.ECN, leg.ECN != tcpstack.NoECN.String()), leg.RTT, leg.MinRTT)
		if f.State == splice.OnWire.String() {
			fmt.Fprintf(w, "  %s\n", leg.Congestion)
			continue
		}
		fmt.Fprintf(w, " rto %.0fms", leg.RTO)
		fmt.Fprintf(w, " cwnd %s in flight %s retrans %d/%d timeouts %d pacing %s delivery %s  %s", size(leg.Cwnd), size(leg.InFlight),
			leg.Retransmits, leg.Sent, leg.Timeouts, rate(float64(leg.Pacing)), rate(float64(leg.Delivery)), leg.Congestion)
		if leg.State != "" {
			fmt.Fprintf(w, " (%s)", leg.State)
		}
		fmt.Fprintln(w)
	}
	if f.State == splice.OnWire.String() {
		fmt.Fprintln(w, "on the wire: accd holds nothing of it now, and takes over when data comes")
	}
	fmt.Fprintf(w, "held    to server %s   to client %s\n", size(f.ServerLeg.Held), size(f.ClientLeg.Held))
	fmt.Fprintf(w, "carried client→server %s accelerated, %s passed   server→client %s accelerated, %s passed\n",
		size(f.ClientLeg.Taken), size(f.ClientLeg.Passed), size(f.ServerLeg.Taken), size(f.ServerLeg.Passed))
}

func option(name string, on bool) string {
	if on {
		return name
	}
	return ""
}

func seconds(s float64) string { return ago(time.Duration(s * float64(time.Second))) }
