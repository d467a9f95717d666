package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the build; an ordinary go build takes the commit instead.
var version = ""

func programVersion() string {
	if version != "" {
		return version
	}
	revision, modified := "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && len(s.Value) >= 12:
				revision = "-" + s.Value[:12]
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = "+changes"
			}
		}
	}
	return "devel" + revision + modified
}

func versionCommand() *cobra.Command {
	var out output
	c := &cobra.Command{
		Use:   "version",
		Short: "Tell the version of this program",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if out.json() {
				return out.write(c.OutOrStdout(), map[string]string{
					"version": programVersion(), "go": runtime.Version(), "arch": runtime.GOARCH,
				})
			}
			fmt.Fprintf(c.OutOrStdout(), "accd %s (%s, %s/%s)\n", programVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
	out.flag(c)
	return c
}
