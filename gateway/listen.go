package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// isUnix tells paths from host:port, by uWSGI's rule: a colon makes it TCP.
func (l Listen) isUnix() bool { return !strings.Contains(l.Addr, ":") }

func (l Listen) check() error {
	if l.Addr == "" {
		return errors.New("the address is missing: write host:port, :port, or the path of a socket")
	}
	if l.isUnix() {
		if !strings.ContainsAny(l.Addr, "/@") {
			return fmt.Errorf("%q is neither host:port nor a path: write :%s or ./%s", l.Addr, l.Addr, l.Addr)
		}
		return nil
	}
	_, port, err := net.SplitHostPort(l.Addr)
	if err != nil {
		return fmt.Errorf("%q is not host:port", l.Addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q is not a port: it is a number up to 65535", port)
	}
	return nil
}

// open binds the address. Its error says where the address comes from and how to mend it.
func (l Listen) open(ctx context.Context) (net.Listener, error) {
	if err := l.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", l.Where, err)
	}
	var listener net.Listener
	var err error
	if l.isUnix() {
		listener, err = listenUnix(ctx, l.Addr)
	} else {
		listener, err = new(net.ListenConfig).Listen(ctx, "tcp", l.Addr)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: cannot listen on %s: %w%s", l.Where, l.Addr, cause(err), l.remedy(err))
	}
	return listener, nil
}

// cause leaves out that it was a listen on tcp, which the message says already.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func (l Listen) remedy(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "; another program listens there: end it, or choose another address"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "; this machine does not have that address: use one that it has, or :PORT for all"
	case errors.Is(err, fs.ErrPermission) && !l.isUnix():
		return "; ports below 1024 need root or the capability net_bind_service"
	case errors.Is(err, fs.ErrNotExist):
		return "; make its directory first"
	}
	return ""
}

// listenUnix binds a socket in the file system, over one that a dead process left behind. Paths that do not
// fit into a socket address are bound through their directory.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if strings.HasPrefix(path, "@") {
		return new(net.ListenConfig).Listen(ctx, "unix", path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	short := path
	if len(path) > 107 {
		short = fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	}
	if err := removeDead(ctx, short); err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", short)
	if err != nil {
		return nil, err
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false) // short may be gone by then
	return &unixListener{listener, path}, nil
}

// removeDead takes away a socket that nobody answers on, and nothing else.
func removeDead(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return nil // a file in the way is the bind's error to tell
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		conn.Close()
		return syscall.EADDRINUSE
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return err
}

// unixListener takes its socket away when it closes.
type unixListener struct {
	net.Listener
	path string
}

func (l *unixListener) Close() error {
	err := l.Listener.Close()
	if err == nil {
		os.Remove(l.path) // gone is gone, whoever did it
	}
	return err
}

// Addr is the path that was asked for.
func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }
