package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"accd/terminator"
)

// Source is what the server asks: the daemon, and the shards within it.
type Source interface {
	Describe() Daemon
	Status(ctx context.Context) (*terminator.Status, error)
	Flows(ctx context.Context, filter terminator.Filter) ([]terminator.Flow, error)
}

// answerTime is how long the shards may take to answer. They do within a turn
// unless they hang.
const answerTime = 3 * time.Second

// NewServer makes the server; its Serve takes what Claim.Listen gives.
func NewServer(source Source, log *zap.Logger) *http.Server {
	mux := http.NewServeMux()
	handle := func(pattern string, answer func(ctx context.Context, r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), answerTime)
			defer cancel()
			code := http.StatusOK
			body, err := answer(ctx, r)
			switch e := err.(type) {
			case nil:
			case *refusal:
				code, body = e.code, failure{e.text}
			default:
				code, body = http.StatusServiceUnavailable, failure{err.Error()}
				log.Warn("admin request failed", zap.String("path", r.URL.Path), zap.Error(err))
			}
			write(w, code, body)
		})
	}
	handle("GET /v1/status", func(ctx context.Context, _ *http.Request) (any, error) {
		st, err := source.Status(ctx)
		return Status{Version, source.Describe(), st}, err
	})
	handle("GET /v1/flows", func(ctx context.Context, r *http.Request) (any, error) {
		limit := 0
		if s := r.URL.Query().Get("limit"); s != "" {
			n, err := strconv.Atoi(s)
			if err != nil || n < 1 {
				return nil, &refusal{http.StatusBadRequest, fmt.Sprintf("limit=%s: want a number of flows, at least 1", s)}
			}
			limit = n
		}
		list, err := source.Flows(ctx, terminator.Filter{Limit: limit})
		return flows(list), err
	})
	handle("GET /v1/flows/{id}", func(ctx context.Context, r *http.Request) (any, error) {
		list, err := source.Flows(ctx, terminator.Filter{ID: r.PathValue("id")})
		if err == nil && len(list) == 0 {
			err = &refusal{http.StatusNotFound, fmt.Sprintf("flow %q may have ended: accd flows list shows those there are", r.PathValue("id"))}
		}
		return flows(list), err
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		write(w, http.StatusNotFound, failure{fmt.Sprintf("no %s %s: there are GET /v1/status, /v1/flows and /v1/flows/{id}", r.Method, r.URL.Path)})
	})
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: zap.NewStdLog(log)}
}

// refusal is an error of who asks.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return r.text }

// flows is never null in JSON.
func flows(list []terminator.Flow) Flows {
	if list == nil {
		list = []terminator.Flow{}
	}
	return Flows{Version, list}
}

func write(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// An error here means that who asked has gone.
	_ = json.NewEncoder(w).Encode(body)
}
