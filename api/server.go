package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"
)

// maxBody is the largest request that is read. The largest value of a cache is 1 MiB, which base64 makes
// 1.4 MiB; the rest is for the key and the frame.
const maxBody = 2 << 20

const (
	// answerWithin bounds a cache operation, so that a node without a quorum answers instead of hanging.
	answerWithin = 5 * time.Second
	// handOverWithin bounds a drain and a step-down, which wait for daemons to stop.
	handOverWithin = time.Minute
	// headWithin and bodyWithin bound the arrival of a request.
	headWithin, bodyWithin = 5 * time.Second, 30 * time.Second
	// closeWithin is how long requests under way may go on when the node ends, and again how long they may
	// take to notice that they were called off.
	closeWithin = time.Second
)

// route is one thing that can be asked. answer gives what is sent as JSON.
type route struct {
	method, path string
	within       time.Duration
	answer       func(ctx context.Context, r *http.Request, n Node) (any, error)
}

// routes is all that the socket answers.
func routes() []route {
	return []route{
		{http.MethodGet, "/v1/status", answerWithin, answerStatus},
		{http.MethodPost, "/v1/cache", answerWithin, answerCache},
		{http.MethodPost, "/v1/drain", handOverWithin, answerDrain},
		{http.MethodPost, "/v1/legions/{name}/step-down", handOverWithin, answerStepDown},
	}
}

func answerStatus(_ context.Context, _ *http.Request, n Node) (any, error) { return n.Status(), nil }

func answerCache(ctx context.Context, r *http.Request, n Node) (any, error) {
	var req CacheRequest
	if err := decode(r.Body, &req); err != nil {
		return nil, err
	}
	return n.Cache(ctx, req)
}

func answerDrain(ctx context.Context, r *http.Request, n Node) (any, error) {
	on := true
	switch off := r.URL.Query().Get("off"); off {
	case "", "0":
	case "1":
		on = false
	default:
		return nil, &Error{BadRequest, fmt.Sprintf("off=%s: 1 ends the drain, 0 or nothing begins it", off)}
	}
	return Drained{on}, n.Drain(ctx, on)
}

func answerStepDown(ctx context.Context, r *http.Request, n Node) (any, error) {
	name := r.PathValue("name")
	return SteppedDown{name}, n.StepDown(ctx, name)
}

// decode reads one JSON value and nothing else. A key that is not known is refused: ignored, a misspelt
// amount would add 1.
func decode(body io.Reader, into any) error {
	b, err := io.ReadAll(body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &Error{BadRequest, fmt.Sprintf("the request is longer than %d bytes", tooLarge.Limit)}
	case err != nil:
		return &Error{BadRequest, fmt.Sprintf("the request ended early: %v", err)}
	case !utf8.Valid(b): // the decoder would put U+FFFD there, and two keys could become one
		return &Error{BadRequest, "the request is not UTF-8"}
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return &Error{BadRequest, fmt.Sprintf("the request is not JSON as this node knows it: %v", err)}
	}
	if _, err := d.Token(); err != io.EOF { //nolint:errorlint // the decoder gives it bare
		return &Error{BadRequest, "the request goes on behind its JSON"}
	}
	return nil
}

// Handler serves n under /v1.
func Handler(n Node) http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes() {
		mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			ctx, cancel := context.WithTimeout(r.Context(), rt.within)
			defer cancel()
			answer, err := rt.answer(ctx, r, n)
			if err != nil {
				fail(w, err)
				return
			}
			reply(w, http.StatusOK, answer)
		})
		mux.HandleFunc(rt.path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", rt.method)
			reply(w, http.StatusMethodNotAllowed, &Error{BadRequest, fmt.Sprintf("%s takes %s, not %s", r.URL.Path, rt.method, r.Method)})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, &Error{NotFound, fmt.Sprintf("there is no %s here", r.URL.Path)})
	})
	return mux
}

// Serve answers on l until ctx ends. Requests under way may then go on for a second, and are called off
// after it; when Serve returns none is left.
func Serve(ctx context.Context, l net.Listener, n Node) error {
	requests, callOff := context.WithCancel(context.WithoutCancel(ctx))
	defer callOff()
	var underWay sync.RWMutex // each request reads; the end writes, and so waits for all and lets no other in
	handler := Handler(n)
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if underWay.TryRLock() {
				defer underWay.RUnlock()
				handler.ServeHTTP(w, r)
			}
		}),
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: headWithin,
		ReadTimeout:       bodyWithin,
		IdleTimeout:       time.Minute,
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	var err error
	select {
	case err = <-failed:
		err = fmt.Errorf("serve the admin socket: %w", err)
	case <-ctx.Done():
	}
	if !shutdown(ctx, srv) {
		callOff()
		if !shutdown(ctx, srv) {
			srv.Close()
		}
	}
	if err == nil {
		<-failed // that it was closed
	}
	underWay.Lock()
	return err
}

// shutdown takes no further requests, and says whether those under way ended in time.
func shutdown(ctx context.Context, srv *http.Server) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
	defer cancel()
	return srv.Shutdown(ctx) == nil
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that went away has nobody to be told
}

// fail is the one place that turns errors into statuses.
func fail(w http.ResponseWriter, err error) {
	var e *Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, context.DeadlineExceeded):
		e = &Error{NoQuorum, fmt.Sprintf("not done in time, and it may still happen: %v", err)}
	case errors.Is(err, context.Canceled):
		e = &Error{NoQuorum, "the node is stopping, and it may still happen"}
	default:
		e = &Error{Failed, err.Error()}
	}
	reply(w, e.Kind.Status(), e)
}
