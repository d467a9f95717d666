package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"

	"accd/admin"
	"accd/netcfg"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

func runCommand() *cobra.Command {
	var config string
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon, in the foreground",
		Long: `Run the daemon, in the foreground.

SIGHUP reads the configuration again; a file with mistakes is refused and the
old configuration stays. SIGTERM or SIGINT lets go of all connections without
breaking them and ends; a second one does not wait for slow receivers.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			table, problems, err := load(config)
			if err != nil {
				return err
			}
			fmt.Fprint(c.ErrOrStderr(), problems)
			if table == nil {
				return &exitError{code: exitConfig}
			}
			if err := needRoot("accd run"); err != nil {
				return err
			}
			level := zap.NewAtomicLevel()
			signals := make(chan os.Signal, 4)
			signal.Notify(signals, unix.SIGHUP, unix.SIGTERM, unix.SIGINT)
			defer signal.Stop(signals)
			d, err := startDaemon(c.Context(), config, table, level, newLog(level))
			if err != nil {
				return classifyStart(err)
			}
			return classify(d.serve(c.Context(), signals))
		},
	}
	c.Flags().StringVarP(&config, "config", "c", defaultConfig, "configuration file")
	return c
}

// newLog makes the daemon's log: one JSON object per line on standard error.
// Nothing is sampled: there are no lines per packet or flow.
func newLog(level zap.AtomicLevel) *zap.Logger {
	e := zap.NewProductionEncoderConfig()
	e.TimeKey, e.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	e.EncodeDuration = zapcore.StringDurationEncoder
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(e), zapcore.Lock(os.Stderr), level))
}

// errHost marks what the host refused.
var errHost = errors.New("the host is not ready")

// classifyStart gives an error of the start its exit code.
func classifyStart(err error) error {
	switch {
	case errors.Is(err, admin.ErrRunning), errors.Is(err, netcfg.ErrRunning):
		return fail(exitFailed, "%w: stop it first", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fail(exitPermission, "%w", err)
	case errors.Is(err, errHost):
		return fail(exitUnsuitable, "%w\nRun 'accd doctor' for what to change on this host.", err)
	}
	return classify(err)
}
