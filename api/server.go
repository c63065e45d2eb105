package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// maxBody is the largest request read: a cache value in base64 and its frame.
const maxBody = 96 << 20

// answerWithin bounds every operation, so that a node without a quorum answers instead of hanging.
const answerWithin = 5 * time.Second

// Handler serves n under /v1.
func Handler(n Node) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { reply(w, n.Status()) })
	mux.HandleFunc("POST /v1/cache", func(w http.ResponseWriter, r *http.Request) {
		var req CacheRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&req); err != nil {
			fail(w, &Error{BadRequest, fmt.Sprintf("the request is not JSON as this node knows it: %v", err)})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
		defer cancel()
		answer, err := n.Cache(ctx, req)
		if err != nil {
			fail(w, err)
			return
		}
		reply(w, answer)
	})
	mux.HandleFunc("POST /v1/drain", func(w http.ResponseWriter, r *http.Request) {
		done(w, n.Drain(r.Context(), r.FormValue("off") == ""))
	})
	mux.HandleFunc("POST /v1/legions/{name}/step-down", func(w http.ResponseWriter, r *http.Request) {
		done(w, n.StepDown(r.Context(), r.PathValue("name")))
	})
	return mux
}

// Serve answers on l until ctx ends, then lets requests under way finish for a second.
func Serve(ctx context.Context, l net.Listener, n Node) error {
	srv := &http.Server{Handler: Handler(n), ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if srv.Shutdown(end) != nil {
			srv.Close()
		}
	}()
	err := srv.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return fmt.Errorf("serve the admin socket: %w", err)
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that went away has nobody to be told
}

func done(w http.ResponseWriter, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, struct{}{})
}

// fail is the one place that turns errors into statuses.
func fail(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Failed, err.Error()}
	}
	status := map[Kind]int{
		BadRequest: http.StatusBadRequest, NotFound: http.StatusNotFound, Conflict: http.StatusConflict,
		NoQuorum: http.StatusServiceUnavailable,
	}[e.Kind]
	if status == 0 {
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(e)
}
