// Command accd is a transparent TCP accelerator: the daemon and everything that
// asks it. It holds wiring only; what the commands do is in the packages.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main without the process: it gives the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	if err == nil {
		return exitOK
	}
	var e *exitError
	if !errors.As(err, &e) {
		// Only cobra's own errors come without a code: unknown commands and flags.
		fmt.Fprintf(stderr, "accd: %v\nRun 'accd help' for what there is.\n", err)
		return exitUsage
	}
	if e.err != nil {
		fmt.Fprintf(stderr, "accd: %v\n", e.err)
	}
	return e.code
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "accd",
		Short: "A transparent TCP accelerator",
		Long: `accd is a transparent TCP accelerator for a Linux router. It terminates chosen TCP
connections in user space, gives each side its own congestion control, and steps
aside at any time without breaking them.

Try it without configuring anything:   accd demo
Run it:                                accd run -c /etc/accd/accd.yaml`,
		Version:       programVersion(),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		runCommand(), checkCommand(), statusCommand(), flowsCommand(),
		demoCommand(), doctorCommand(), cleanupCommand(), versionCommand(),
	)
	return root
}

// one refuses command lines that do not have exactly one argument.
func one(message string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fail(exitUsage, "%s", message)
		}
		return nil
	}
}
