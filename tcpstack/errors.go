package tcpstack

import "errors"

// How a Conn ends other than by FIN in both directions.
var (
	// ErrReset: the peer sent an RST that is exactly in order.
	ErrReset = errors.New("tcpstack: connection reset by peer")
	// ErrRefused: the peer answered our SYN by an RST.
	ErrRefused = errors.New("tcpstack: connection refused")
	// ErrUnreachable: a router or the peer's host said that our SYN cannot
	// arrive, and nothing came after it.
	ErrUnreachable = errors.New("tcpstack: destination unreachable")
	// ErrTimeout: the peer did not answer for as long as the Config allows.
	ErrTimeout = errors.New("tcpstack: connection timed out")
	// ErrAborted: Abort, or Close with data that nobody will read.
	ErrAborted = errors.New("tcpstack: connection aborted")
)
