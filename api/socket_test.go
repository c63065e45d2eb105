package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// serve serves n in a new directory until the test ends.
func serve(t *testing.T, n Node) (dir string, stop func() error) {
	t.Helper()
	dir = t.TempDir()
	return dir, serveIn(t, dir, n)
}

func serveIn(t *testing.T, dir string, n Node) (stop func() error) {
	t.Helper()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, n) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
	return stop
}

func kindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

func TestClientAndServer(t *testing.T) {
	n := &fakeNode{}
	dir, _ := serve(t, n)
	c := NewClient(dir)
	ctx := t.Context()
	if s, err := c.Status(ctx); err != nil || s.Node != "n1" || s.Uptime != 90*time.Second {
		t.Errorf("Status() = %+v, %v", s, err)
	}
	if err := c.Drain(ctx, true); err != nil {
		t.Errorf("Drain(true): %v", err)
	}
	if s, err := c.Status(ctx); err != nil || !s.Draining {
		t.Errorf("Status() after a drain = %+v, %v", s, err)
	}
	if err := c.Drain(ctx, false); err != nil {
		t.Errorf("Drain(false): %v", err)
	}
	if s, err := c.Status(ctx); err != nil || s.Draining {
		t.Errorf("Status() after the end of a drain = %+v, %v", s, err)
	}
	var asked string
	n.stepDown = func(_ context.Context, legion string) error {
		asked = legion
		return &Error{Conflict, "not lord"}
	}
	const name = "a/b c?d%"
	if err := c.StepDown(ctx, name); kindOf(err) != Conflict || err.Error() != "not lord" || asked != name {
		t.Errorf("StepDown(%q) = %v, and the node was asked for %q", name, err, asked)
	}
	amount := int64(-9223372036854775808)
	want := CacheRequest{Verb: "inc", Cache: "c", Key: "ключ\x00\n", Amount: &amount, Expires: time.Second, Local: true}
	n.cache = func(_ context.Context, r CacheRequest) (CacheAnswer, error) {
		if r.Verb != want.Verb || r.Cache != want.Cache || r.Key != want.Key || *r.Amount != amount || r.Expires != want.Expires || !r.Local {
			t.Errorf("the node was asked for %+v, want %+v", r, want)
		}
		return CacheAnswer{Found: true, Value: []byte("\x00\xff"), Number: r.Amount}, nil
	}
	if a, err := c.Cache(ctx, want); err != nil || !a.Found || *a.Number != amount || string(a.Value) != "\x00\xff" {
		t.Errorf("Cache(%+v) = %+v, %v", want, a, err)
	}
	if _, err := c.Cache(ctx, CacheRequest{Verb: "get", Key: "\xff"}); kindOf(err) != BadRequest {
		t.Errorf("Cache with a key that JSON cannot carry = %v, want %s", err, BadRequest)
	}
}

func TestConcurrentRequests(t *testing.T) {
	n := &fakeNode{}
	dir, _ := serve(t, n)
	const clients, each = 16, 50
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[int64]bool{}
	for range clients {
		wg.Go(func() {
			c := NewClient(dir)
			for range each {
				a, err := c.Cache(t.Context(), CacheRequest{Verb: "inc", Key: "a"})
				if err != nil {
					t.Errorf("Cache: %v", err)
					return
				}
				mu.Lock()
				seen[*a.Number] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != clients*each {
		t.Errorf("%d different numbers came, want %d", len(seen), clients*each)
	}
}

func TestLongDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100), strings.Repeat("e", 100))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	stop := serveIn(t, dir, &fakeNode{})
	if _, err := NewClient(dir).Status(t.Context()); err != nil {
		t.Errorf("Status of a node in a directory of %d characters: %v", len(dir), err)
	}
	if err := stop(); err != nil {
		t.Errorf("Serve = %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, SocketName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket after the end: %v, want it gone", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false) // as after kill -9
	stale.Close()
	if _, err := NewClient(dir).Status(t.Context()); kindOf(err) != Unreachable || !strings.Contains(err.Error(), "no node runs") {
		t.Errorf("Status of a killed node = %v, want %s", err, Unreachable)
	}
	serveIn(t, dir, &fakeNode{})
	if _, err := NewClient(dir).Status(t.Context()); err != nil {
		t.Errorf("Status after the restart: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v, want 0600", info.Mode(), err)
	}
}

func TestUnreachable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Join(t.TempDir(), "nothing"), t.TempDir(), file} {
		_, err := NewClient(dir).Status(t.Context())
		if kindOf(err) != Unreachable || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "--data") {
			t.Errorf("Status with data in %s = %v, want %s that names it", dir, err, Unreachable)
		}
	}
	if _, err := Listen(file); err == nil {
		t.Error("Listen in a file succeeded")
	}
}

func TestMayAsk(t *testing.T) {
	for _, tt := range []struct {
		peer uint32
		own  int
		want bool
	}{{0, 0, true}, {0, 1000, true}, {1000, 1000, true}, {1001, 1000, false}, {1000, 0, false}, {1<<32 - 2, 1000, false}} {
		if got := mayAsk(tt.peer, tt.own); got != tt.want {
			t.Errorf("mayAsk(%d, %d) = %v, want %v", tt.peer, tt.own, got, tt.want)
		}
	}
}

// TestOtherUser connects as somebody else to a socket whose mode keeps nobody out. Only root can try that.
func TestOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must run as root: only root can become somebody else")
		}
		t.Skip("only root can become somebody else")
	}
	base, err := os.MkdirTemp("/tmp", "api-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	serveIn(t, base, &fakeNode{})
	path := filepath.Join(base, SocketName)
	for name, mode := range map[string]os.FileMode{base: 0o755, path: 0o666} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	for uid, want := range map[int]string{0: "HTTP/1.0 200", 65534: ""} {
		got, err := askAs(uid, path)
		if err != nil || !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("user %d got %q, %v, want %q", uid, got, err, want)
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := askAs(65534, path); !errors.Is(err, unix.EACCES) {
		t.Errorf("user 65534 may connect to a socket of mode 0600: %v", err)
	}
}

// askAs asks for the status on a thread that has another user, which ends with it.
func askAs(uid int, path string) (answer string, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); e != 0 {
			err = fmt.Errorf("become user %d: %w", uid, e)
			return
		}
		answer, err = rawAsk(path)
	}()
	<-done
	return answer, err
}

// rawAsk stays on its thread: the runtime's poller would not matter, but net.Dial may move.
func rawAsk(path string) (string, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return "", err
	}
	// Who is not let in is cut off, maybe before this is sent.
	_ = unix.Sendto(fd, []byte("GET /v1/status HTTP/1.0\r\n\r\n"), unix.MSG_NOSIGNAL, nil)
	b := make([]byte, 64)
	n, err := unix.Read(fd, b)
	if errors.Is(err, unix.ECONNRESET) {
		return "", nil
	}
	return string(b[:max(n, 0)]), err
}

func TestServeWaitsForRequests(t *testing.T) {
	began, ended := make(chan struct{}), false
	n := &fakeNode{cache: func(ctx context.Context, _ CacheRequest) (CacheAnswer, error) {
		close(began)
		<-ctx.Done() // what goes on too long is called off
		ended = true
		return CacheAnswer{}, ctx.Err()
	}}
	dir, stop := serve(t, n)
	answer := make(chan error, 1)
	go func() {
		_, err := NewClient(dir).Cache(context.WithoutCancel(t.Context()), CacheRequest{Verb: "get", Key: "a"})
		answer <- err
	}()
	<-began
	if err := stop(); err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	if !ended {
		t.Error("Serve returned before the request under way had ended")
	}
	if err := <-answer; kindOf(err) != NoQuorum || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("a request that the end called off = %v, want %s", err, NoQuorum)
	}
}

func TestServeFailsWithItsListener(t *testing.T) {
	l, err := Listen(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := Serve(t.Context(), l, &fakeNode{}); err == nil || !strings.Contains(err.Error(), "admin socket") {
		t.Errorf("Serve on a closed listener = %v, want an error", err)
	}
}

func TestClientGivesUp(t *testing.T) {
	dir, _ := serve(t, &fakeNode{cache: func(ctx context.Context, _ CacheRequest) (CacheAnswer, error) {
		<-ctx.Done()
		return CacheAnswer{}, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewClient(dir).Cache(ctx, CacheRequest{Verb: "get", Key: "a"}); kindOf(err) != Unreachable {
		t.Errorf("Cache with a context that ended = %v, want %s", err, Unreachable)
	}
}

// TestStrangeServers shows that whatever answers on the socket, the client says so and ends.
func TestStrangeServers(t *testing.T) {
	for name, tt := range map[string]struct {
		says string
		want Kind
	}{
		"closes at once":        {"", Unreachable},
		"not HTTP":              {"hello\r\n\r\n", Unreachable},
		"cut short":             {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Unreachable},
		"no JSON":               {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Failed},
		"error without JSON":    {"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno", Failed},
		"error without kind":    {"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\n{}", Failed},
		"error of another kind": {"HTTP/1.1 500 No\r\nContent-Length: 30\r\n\r\n" + `{"kind":"moved","error":"abc"}`, "moved"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l, err := Listen(dir)
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				if tt.says != "" { // else: cut off before the question is read
					_, _ = c.Read(make([]byte, 1024))
				}
				_, _ = c.Write([]byte(tt.says))
			})
			if _, err := NewClient(dir).Status(t.Context()); kindOf(err) != tt.want {
				t.Errorf("Status = %v of kind %q, want %q", err, kindOf(err), tt.want)
			}
			l.Close()
			wg.Wait()
		})
	}
}
