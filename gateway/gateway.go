// Package gateway is where clients come in: HTTP on TCP and unix sockets, given to one handler.
//
// Run owns everything it starts: it returns when its listeners are closed and the last request is answered, or
// cut off after a grace. What is not proper HTTP is answered with 400, 413 or 431; uWSGI closes the connection.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// Gateway serves HTTP on the addresses of its Config.
type Gateway struct {
	cfg     Config
	handler http.Handler
	log     *slog.Logger

	conns   sync.WaitGroup // one for each that is open
	refused atomic.Uint64
	open    atomic.Int64
	addrs   atomic.Pointer[[]net.Addr]
}

// New makes a Gateway that is not listening yet.
func New(cfg Config, handler http.Handler, log *slog.Logger) *Gateway {
	return &Gateway{cfg: cfg.withDefaults(), handler: handler, log: log}
}

// Stats counts since the start.
type Stats struct {
	Connections int64  // open now
	Refused     uint64 // requests answered with 400 or 413 before any rule saw them
}

// Stats are the counters now.
func (g *Gateway) Stats() Stats {
	return Stats{Connections: g.open.Load(), Refused: g.refused.Load()}
}

// Addrs are the addresses that are bound, in the order of the Config; nil before ready. A port of 0 has become
// the one that the kernel chose.
func (g *Gateway) Addrs() []net.Addr {
	if addrs := g.addrs.Load(); addrs != nil {
		return *addrs
	}
	return nil
}

// Run binds all addresses, or fails with every one that it cannot bind; calls ready; and serves until ctx
// ends. Then running requests get the grace of the Config to finish.
func (g *Gateway) Run(ctx context.Context, ready func()) error {
	listeners, err := g.listen(ctx)
	if err != nil {
		return err
	}
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	server := &http.Server{
		Handler:                      http.HandlerFunc(g.serve),
		ReadHeaderTimeout:            g.cfg.HeaderTimeout,
		IdleTimeout:                  g.cfg.IdleTimeout,
		MaxHeaderBytes:               g.cfg.MaxHeader,
		DisableGeneralOptionsHandler: true, // rules see OPTIONS * too
		ErrorLog:                     slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		BaseContext:                  func(net.Listener) context.Context { return requests },
		ConnContext:                  func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState:                    g.count,
	}
	var serving sync.WaitGroup
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		serving.Go(func() {
			if err := server.Serve(wrapper{l}); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("gateway: serve %s: %w", l.Addr(), err)
			}
		})
	}
	ready()
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	g.stop(server, cut)
	serving.Wait() // from here on no connection is new
	g.conns.Wait()
	return err
}

// stop lets requests finish, and cuts off those that take too long.
func (g *Gateway) stop(server *http.Server, cut context.CancelFunc) {
	grace, cancel := context.WithTimeout(context.Background(), g.cfg.StopGrace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		g.log.Warn("requests cut off", "connections", g.open.Load(), "grace", g.cfg.StopGrace)
		cut()
		server.Close() // its error is that of a listener, and those are closed
	}
}

// listen binds all addresses or none.
func (g *Gateway) listen(ctx context.Context) ([]net.Listener, error) {
	var listeners []net.Listener
	var addrs []net.Addr
	var mistakes []error
	for _, l := range g.cfg.Listen {
		listener, err := l.open(ctx)
		if err != nil {
			mistakes = append(mistakes, err)
			continue
		}
		listeners, addrs = append(listeners, listener), append(addrs, listener.Addr())
	}
	if len(mistakes) > 0 {
		for _, listener := range listeners {
			listener.Close()
		}
		return nil, errors.Join(mistakes...)
	}
	g.addrs.Store(&addrs)
	for _, addr := range addrs {
		g.log.Info("listening", "addr", addr.String())
	}
	return listeners, nil
}

func (g *Gateway) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		g.open.Add(1)
		g.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		g.open.Add(-1)
		g.conns.Done()
	}
}

// connKey is where the conn of a request stands in its context.
type connKey struct{}

// serve looks at what no rule should have to look at, and hands the request on.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case !g.cfg.AllowControl && hasControl(r.RequestURI):
		// A path that ends in %0a matches ^/private$ in one program and not in the next.
		g.refuse(w, r, http.StatusBadRequest)
		return
	case g.cfg.LimitPost > 0 && r.ContentLength > g.cfg.LimitPost:
		g.refuse(w, r, http.StatusRequestEntityTooLarge)
		return
	case g.cfg.LimitPost > 0:
		r.Body = http.MaxBytesReader(w, r.Body, g.cfg.LimitPost)
	}
	if c, ok := r.Context().Value(connKey{}).(*conn); ok {
		c.phrase = ""
		c.out = writer{ResponseWriter: w, conn: c}
		w = &c.out
	}
	g.handler.ServeHTTP(w, r)
}

func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, status int) {
	g.refused.Add(1)
	g.log.Debug("request refused", "status", status, "uri", r.RequestURI, "client", r.RemoteAddr)
	w.Header().Set("Connection", "close")
	http.Error(w, http.StatusText(status), status)
}

// hasControl says whether the path of a request target has a control byte in it, encoded or not.
func hasControl(target string) bool {
	path, _, _ := strings.Cut(target, "?")
	if strings.IndexByte(path, '%') < 0 {
		return false // net/http refuses plain ones
	}
	for rest := path; ; {
		i := strings.IndexByte(rest, '%')
		if i < 0 || i+2 >= len(rest) {
			return false
		}
		first, second := rest[i+1], rest[i+2]|0x20
		if first == '0' || first == '1' || first == '7' && second == 'f' {
			return true
		}
		rest = rest[i+1:]
	}
}
