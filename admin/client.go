package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"

	"accd/terminator"
)

// What a Client may find.
var (
	ErrNotRunning = errors.New("accd is not running")
	ErrNoFlow     = errors.New("no such flow")
)

// Client asks the daemon behind a socket.
type Client struct {
	Socket string
	http   http.Client
}

// NewClient makes a Client. Nothing is sent before it is asked something.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	return &Client{socket, http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Status asks for the daemon's state.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	s := new(Status)
	return s, c.get(ctx, "/v1/status", s)
}

// Flows asks for the flows there are, at most limit; 0: all.
func (c *Client) Flows(ctx context.Context, limit int) (*Flows, error) {
	path := "/v1/flows"
	if limit > 0 {
		path += "?limit=" + strconv.Itoa(limit)
	}
	f := new(Flows)
	return f, c.get(ctx, path, f)
}

// Flow asks for one flow; the error is ErrNoFlow if there is none.
func (c *Client) Flow(ctx context.Context, id string) (*terminator.Flow, error) {
	var f Flows
	if err := c.get(ctx, "/v1/flows/"+url.PathEscape(id), &f); err != nil {
		return nil, err
	}
	if len(f.Flows) != 1 {
		return nil, fmt.Errorf("admin: %d flows answer to %q", len(f.Flows), id)
	}
	return &f.Flows[0], nil
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://accd"+path, nil)
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nothing answers at %s; start it with: accd run -c /etc/accd/accd.yaml", ErrNotRunning, c.Socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("socket %s: %w: it is open to root and to the daemon's group", c.Socket, fs.ErrPermission)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("accd at %s does not answer: it may be stopped or out of CPU: %w", c.Socket, context.DeadlineExceeded)
	case err != nil:
		return fmt.Errorf("admin: %w", err)
	}
	defer resp.Body.Close()
	body := json.NewDecoder(resp.Body)
	if resp.StatusCode != http.StatusOK {
		var f failure
		if err := body.Decode(&f); err != nil || f.Error == "" {
			f.Error = resp.Status
		}
		if resp.StatusCode == http.StatusNotFound {
			return fmt.Errorf("%w: %s", ErrNoFlow, f.Error)
		}
		return fmt.Errorf("accd at %s answers: %s", c.Socket, f.Error)
	}
	if err := body.Decode(into); err != nil {
		return fmt.Errorf("admin: %s: %w", path, err)
	}
	return nil
}
