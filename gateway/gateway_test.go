package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cohortd/cohort/router"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// start runs a gateway until the test ends, and gives its first address.
func start(t *testing.T, cfg Config, handler http.Handler) (g *Gateway, addr string) {
	t.Helper()
	g = New(cfg, handler, quiet)
	ctx, stop := context.WithCancel(context.Background())
	ready, gone := make(chan struct{}), make(chan error, 1)
	go func() { gone <- g.Run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		stop()
		if err := <-gone; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	select {
	case <-ready:
	case err := <-gone:
		t.Fatalf("Run = %v", err)
	}
	return g, g.Addrs()[0].String()
}

func loopback() Config {
	return Config{Listen: []Listen{{Addr: "127.0.0.1:0", Where: "app.ini:2"}}}
}

// rules is a Router of route-run actions.
func rules(t *testing.T, actions ...string) *router.Router {
	t.Helper()
	var all []router.Rule
	for i, action := range actions {
		all = append(all, router.Rule{Table: "route", Kind: router.Run, Action: action, Where: fmt.Sprintf("app.ini:%d", i+1)})
	}
	site, err := router.Compile(all, router.Core(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	return site
}

// talk sends text on a new connection and reads everything that comes until it closes.
func talk(t *testing.T, network, addr, text string) string {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, text)
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("after %q: %v", all, err)
	}
	return string(all)
}

func TestDefaultAnswer(t *testing.T) {
	_, addr := start(t, loopback(), rules(t))
	got := talk(t, "tcp", addr, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	for _, want := range []string{"HTTP/1.1 404 Not Found\r\n", "\r\nConnection: close\r\n", "\r\nContent-Type: text/plain\r\n", "\r\n\r\nNot Found"} {
		if !strings.Contains(got, want) {
			t.Errorf("answer %q lacks %q", got, want)
		}
	}
}

// The text behind the status is the rule's, answer after answer on one connection.
func TestPhrases(t *testing.T) {
	_, addr := start(t, loopback(), rules(t, "clearheaders:202 Custom Text", "send:${QUERY_STRING}", "break:"))
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for i := range 3 {
		body := strings.Repeat("x", i*3000)
		fmt.Fprintf(c, "POST /?%s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n", body)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if resp.Status != "202 Custom Text" || string(got) != body || err != nil {
			t.Errorf("answer %d: status %q, %d bytes, %v", i, resp.Status, len(got), err)
		}
	}
}

func TestPhraseIsOneLine(t *testing.T) {
	_, addr := start(t, Config{Listen: loopback().Listen, AllowControl: true}, rules(t, "clearheaders:200 A${PATH_INFO}", "break:"))
	got := talk(t, "tcp", addr, "GET /b%0d%0aX-Evil:%201 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200 A/b  X-Evil: 1\r\n") {
		t.Errorf("answer %q, want the path in the status line", got)
	}
}

func TestRefusals(t *testing.T) {
	cfg := loopback()
	cfg.LimitPost = 10
	g, addr := start(t, cfg, rules(t, "return:200"))
	for request, want := range map[string]string{
		"GET /a%0a HTTP/1.1\r\nHost: x\r\n\r\n":                                                   "400",
		"GET /a%00b?x HTTP/1.1\r\nHost: x\r\n\r\n":                                                "400",
		"GET /a%7F HTTP/1.1\r\nHost: x\r\n\r\n":                                                   "400",
		"GET /a%zz HTTP/1.1\r\nHost: x\r\n\r\n":                                                   "400",
		"nonsense\r\n\r\n":                                                                        "400",
		"GET / HTTP/1.1\r\nHost: x\r\nnocolon\r\n\r\n":                                            "400",
		"GET / HTTP/1.1\r\n\r\n":                                                                  "400",
		"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 80<<10) + "\r\n\r\n":             "431",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n0123456789a":                     "413",
		"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\n0123456789": "200",
		"GET /a%20b?%0a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                         "200",
	} {
		if got := talk(t, "tcp", addr, request); !strings.HasPrefix(got, "HTTP/1.1 "+want+" ") {
			t.Errorf("%.60q is answered %.60q, want %s", request, got, want)
		}
	}
	if got := talk(t, "tcp", addr, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.HasSuffix(got, "\r\n\r\nOK") {
		t.Errorf("OPTIONS * is answered %q, want the rules' answer", got)
	}
	if got := g.Stats().Refused; got != 4 {
		t.Errorf("Stats().Refused = %d, want 4", got)
	}
}

func TestUnixSocket(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "s"), filepath.Join(deep, "long.socket")} {
		t.Run(fmt.Sprint(len(path)), func(t *testing.T) {
			t.Chdir(filepath.Dir(path)) // to dial a long one
			_, addr := start(t, Config{Listen: []Listen{{Addr: path}}}, rules(t, "clearheaders:200 OK", "send:${REMOTE_ADDR}", "break:"))
			if addr != path {
				t.Errorf("Addrs() = %q, want %q", addr, path)
			}
			got := talk(t, "unix", filepath.Base(path), "GET / HTTP/1.0\r\n\r\n")
			if !strings.HasSuffix(got, "\r\n\r\nunix:") {
				t.Errorf("answer %q, want unix: as the client's address", got)
			}
			if err := New(Config{Listen: []Listen{{Addr: path, Where: "b.ini:1"}}}, nil, quiet).Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "another program") {
				t.Errorf("a second Run = %v, want the socket to be in use", err)
			}
		})
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after Run, %s is there (%v)", path, err)
		}
	}
}

// A socket that a killed process left behind is in nobody's way, a file is.
func TestDeadSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	start(t, Config{Listen: []Listen{{Addr: path}}}, rules(t))

	file := filepath.Join(t.TempDir(), "f")
	os.WriteFile(file, []byte("mine"), 0o600)
	err = New(Config{Listen: []Listen{{Addr: file, Where: "app.ini:3"}}}, nil, quiet).Run(t.Context(), nil)
	if kept, _ := os.ReadFile(file); err == nil || string(kept) != "mine" {
		t.Errorf("Run over a file = %v, and the file is %q", err, kept)
	}
}

func TestListenMistakes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := Config{Listen: []Listen{
		{Addr: taken.Addr().String(), Where: "app.ini:2"},
		{Addr: "192.0.2.1:80", Where: "app.ini:3"},
		{Addr: "8080", Where: "app.ini:4"},
		{Addr: filepath.Join(t.TempDir(), "none", "s"), Where: "app.ini:5"},
		{Addr: "127.0.0.1:0", Where: "app.ini:6"},
	}}
	err = New(cfg, nil, quiet).Run(t.Context(), func() { t.Error("ready, although it cannot listen") })
	for _, want := range []string{
		"app.ini:2: cannot listen on " + taken.Addr().String(), "another program listens there",
		"app.ini:3: ", "does not have that address",
		`app.ini:4: "8080" is neither host:port nor a path: write :8080 or ./8080`,
		"app.ini:5: ", "make its directory first",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Run = %v, want it to say %q", err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	cfg := Config{LimitPost: -1, Listen: []Listen{{":80", "a:1"}, {":80", "a:2"}, {"", "a:3"}, {"h:x", "a:4"}, {"./s", "a:5"}, {"@s", "a:6"}}}
	err := cfg.Check()
	for _, want := range []string{"limit-post: -1", "a:2: :80 is in use since a:1", "a:3: the address is missing", `a:4: "x" is not a port`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check() = %v, want it to say %q", err, want)
		}
	}
	if err := loopback().Check(); err != nil {
		t.Errorf("Check() = %v", err)
	}
}

// A stop lets a request finish, and cuts it off after the grace.
func TestStop(t *testing.T) {
	for name, tt := range map[string]struct {
		grace time.Duration
		want  string
	}{
		"finishes":   {time.Minute, "done"},
		"is cut off": {time.Millisecond, ""},
	} {
		t.Run(name, func(t *testing.T) {
			began, finish := make(chan struct{}), make(chan struct{})
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(began)
				select {
				case <-finish:
					io.WriteString(w, "done")
				case <-r.Context().Done():
					panic(http.ErrAbortHandler)
				}
			})
			cfg := loopback()
			cfg.StopGrace = tt.grace
			g := New(cfg, handler, quiet)
			ctx, stop := context.WithCancel(t.Context())
			ready, gone := make(chan struct{}), make(chan error, 1)
			go func() { gone <- g.Run(ctx, func() { close(ready) }) }()
			<-ready
			answer := make(chan string, 1)
			go func() {
				resp, err := http.Get("http://" + g.Addrs()[0].String())
				if err != nil {
					answer <- ""
					return
				}
				defer resp.Body.Close()
				body, _ := io.ReadAll(resp.Body)
				answer <- string(body)
			}()
			<-began
			stop()
			if tt.want != "" {
				close(finish)
			}
			if err := <-gone; err != nil {
				t.Errorf("Run = %v", err)
			}
			if got := <-answer; got != tt.want {
				t.Errorf("the request got %q, want %q", got, tt.want)
			}
			if n := g.Stats().Connections; n != 0 {
				t.Errorf("%d connections are open after Run", n)
			}
		})
	}
}

func FuzzControl(f *testing.F) {
	f.Add("/a%0a")
	f.Add("/%%30%7f")
	f.Fuzz(func(t *testing.T, target string) {
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")))
		if err != nil || strings.Contains(target, " ") {
			return
		}
		has := strings.ContainsFunc(req.URL.Path, func(r rune) bool { return r < ' ' || r == 0x7f })
		if has && !hasControl(req.RequestURI) {
			t.Errorf("hasControl(%q) = false for the path %q", target, req.URL.Path)
		}
	})
}

func ExampleNew() {
	site, err := router.Compile([]router.Rule{{Table: "route", Kind: router.Run, Action: "return:200", Where: "app.ini:3"}}, router.Core(), quiet)
	if err != nil {
		fmt.Println(err)
		return
	}
	g := New(Config{Listen: []Listen{{Addr: "127.0.0.1:0", Where: "app.ini:2"}}}, site, quiet)
	ctx, stop := context.WithCancel(context.Background())
	err = g.Run(ctx, func() {
		resp, err := http.Get("http://" + g.Addrs()[0].String())
		fmt.Println(resp.Status, err)
		resp.Body.Close()
		stop()
	})
	fmt.Println(err)
	// Output:
	// 200 OK <nil>
	// <nil>
}
