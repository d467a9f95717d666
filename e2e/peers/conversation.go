// Package peers is what the ends of a connection do in the differential tests,
// whatever TCP they run on: the client says what it wants, both send and receive
// at the same time, and each tells by a hash what it sent and what it got.
package peers

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"
)

// Order is what a client asks for: the first bytes of its connection.
type Order struct {
	ID   uint64 `json:"id"`   // tells the connections of one test apart
	Up   int64  `json:"up"`   // bytes to the server, behind the order itself
	Down int64  `json:"down"` // bytes to the client
}

// orderLen is the length of an Order on the connection.
const orderLen = 24

// Outcome is how a conversation went at one end.
type Outcome struct {
	ID   uint64 `json:"id"`
	Sent string `json:"sent"` // SHA-256 of what was sent, in hexadecimal
	Got  string `json:"got"`  // SHA-256 of what was received
}

// Conn is a connection that can be closed in one direction.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// Ask is the client's part of a conversation; it closes c.
func Ask(c Conn, o Order, limit time.Duration) (Outcome, error) {
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return Outcome{}, err
	}
	var b [orderLen]byte
	binary.BigEndian.PutUint64(b[:], o.ID)
	binary.BigEndian.PutUint64(b[8:], uint64(o.Up))
	binary.BigEndian.PutUint64(b[16:], uint64(o.Down))
	if _, err := c.Write(b[:]); err != nil {
		return Outcome{}, fmt.Errorf("order %d: %w", o.ID, err)
	}
	return swap(c, o.ID, o.Up, o.Down)
}

// Answer is the server's part of a conversation; it closes c.
func Answer(c Conn, limit time.Duration) (Outcome, error) {
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return Outcome{}, err
	}
	var b [orderLen]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return Outcome{}, fmt.Errorf("reading the order: %w", err)
	}
	id := binary.BigEndian.Uint64(b[:])
	up, down := int64(binary.BigEndian.Uint64(b[8:])), int64(binary.BigEndian.Uint64(b[16:]))
	return swap(c, id, down, up)
}

// swap sends n random bytes and receives as many as are wanted, at the same
// time; then each end ends its stream. An end that closed its direction while it
// still receives would be a trial of its own: netstack then sends no SACK blocks.
func swap(c Conn, id uint64, n, want int64) (Outcome, error) {
	sent, got := sha256.New(), sha256.New()
	done := make(chan error, 1)
	go func() {
		var key [32]byte
		binary.BigEndian.PutUint64(key[:], id)
		binary.BigEndian.PutUint64(key[8:], uint64(n))
		_, err := io.CopyN(io.MultiWriter(sent, c), rand.NewChaCha8(key), n)
		done <- err
	}()
	if k, err := io.CopyN(got, c, want); err != nil {
		return Outcome{}, fmt.Errorf("order %d: after receiving %d of %d bytes: %w", id, k, want, err)
	}
	if err := <-done; err != nil {
		return Outcome{}, fmt.Errorf("order %d: sending %d bytes: %w", id, n, err)
	}
	if err := c.CloseWrite(); err != nil {
		return Outcome{}, fmt.Errorf("order %d: closing: %w", id, err)
	}
	if k, err := io.Copy(io.Discard, c); k != 0 || err != nil {
		return Outcome{}, fmt.Errorf("order %d: want the end of the stream after %d bytes, got %d more and %v", id, want, k, err)
	}
	return Outcome{ID: id, Sent: hex.EncodeToString(sent.Sum(nil)), Got: hex.EncodeToString(got.Sum(nil))}, nil
}
