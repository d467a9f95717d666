package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"accd/admin"
)

// Exit codes, the same for every command.
const (
	exitOK         = 0
	exitFailed     = 1
	exitUsage      = 2
	exitNotRunning = 3
	exitConfig     = 4
	exitPermission = 5
	exitUnsuitable = 6
	exitTimeout    = 7
	exitDegraded   = 8
)

// exitError is an error with the exit code it ends the program with.
type exitError struct {
	code int
	err  error // nil: everything is said already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func fail(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

// classify gives an error the exit code its cause asks for.
func classify(err error) error {
	var e *exitError
	switch {
	case err == nil || errors.As(err, &e):
		return err
	case errors.Is(err, admin.ErrNotRunning):
		return fail(exitNotRunning, "%w", err)
	case errors.Is(err, fs.ErrPermission):
		return fail(exitPermission, "%w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fail(exitTimeout, "%w", err)
	}
	return fail(exitFailed, "%w", err)
}

// effectiveUser is who runs the program; tests change it.
var effectiveUser = os.Geteuid

// needRoot refuses what only root can do, and says how to become it.
func needRoot(what string) error {
	if effectiveUser() == 0 {
		return nil
	}
	return fail(exitPermission, "%s needs root: it makes network devices, routes and nftables rules; run it with sudo", what)
}
