package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"accd/admin"
	"accd/netcfg"
	"accd/policy"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

func cleanupCommand() *cobra.Command {
	var config string
	c := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove what an accd that died has left on this host",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := needRoot("accd cleanup"); err != nil {
				return err
			}
			settings, _, err := loadOrDefault(c, config)
			if err != nil {
				return err
			}
			if err := cleanup(settings, newLog(zap.NewAtomicLevelAt(zap.WarnLevel))); err != nil {
				return classifyStart(err)
			}
			fmt.Fprintln(c.OutOrStdout(), "nothing of accd is left on this host")
			return nil
		},
	}
	c.Flags().StringVarP(&config, "config", "c", defaultConfig, "configuration file of the accd that died; it names its devices, tables and marks")
	return c
}

func cleanup(t *policy.Table, log *zap.Logger) (err error) {
	claim, err := admin.Take(t.Admin.Socket)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claim.Release()) }()
	n := names(&t.Steer, &t.Admin)
	return errors.Join(settleLedger(admin.Beside(t.Admin.Socket, "ledger"), afterDeath, n, log), netcfg.Cleanup(n))
}

// loadOrDefault gives the settings of a configuration file, and those of an
// empty one, and false, if nobody named a file and there is none at the default place.
func loadOrDefault(c *cobra.Command, path string) (_ *policy.Table, found bool, _ error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !c.Flags().Changed("config") {
		t, _ := policy.Parse("default", []byte("version: 1\nrules: [{ name: default, action: pass }]\n"))
		return t, false, nil
	}
	table, problems, err := load(path)
	if err != nil {
		return nil, false, err
	}
	if table == nil {
		fmt.Fprint(c.ErrOrStderr(), problems)
		return nil, false, &exitError{code: exitConfig}
	}
	return table, true, nil
}
