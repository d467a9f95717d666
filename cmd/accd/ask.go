package main

import (
	"context"
	"time"

	"accd/admin"
	"accd/policy"

	"github.com/spf13/cobra"
)

// askTime is how long a command waits for the daemon.
const askTime = 5 * time.Second

// ask is what every command that asks the daemon has in common.
type ask struct {
	socket string
	out    output
}

func (a *ask) flags(c *cobra.Command) {
	c.Flags().StringVar(&a.socket, "socket", policy.DefaultSocket, "the daemon's socket")
	a.out.flag(c)
}

// client gives a client for the daemon, and a context for what it is asked.
func (a *ask) client(c *cobra.Command) (*admin.Client, context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(c.Context(), askTime)
	return admin.NewClient(a.socket), ctx, cancel
}
