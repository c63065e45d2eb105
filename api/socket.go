package api

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// SocketName is the admin socket's file in the data directory.
const SocketName = "cohort.sock"

// Listen opens the admin socket in dir, which must belong to this process alone: a socket left behind by
// a killed node is replaced. The socket is 0600, and each connection's user is checked as well, because
// not every system heeds a socket's mode.
func Listen(dir string) (net.Listener, error) {
	var l net.Listener
	err := inDir(dir, func(short string) error {
		if err := os.Remove(filepath.Join(dir, SocketName)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		ul, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		if err != nil {
			return err
		}
		ul.SetUnlinkOnClose(false) // the short name is gone by then
		l = ownerOnly{ul, filepath.Join(dir, SocketName)}
		return os.Chmod(short, 0o600)
	})
	if err != nil {
		return nil, fmt.Errorf("open the admin socket in %s: %w", dir, err)
	}
	return l, nil
}

// inDir calls f with a name of the socket that fits the 108 bytes the kernel allows, however long dir is:
// the name goes through the opened directory.
func inDir(dir string, f func(short string) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), SocketName))
}

// ownerOnly accepts connections of this process's user and of root.
type ownerOnly struct {
	*net.UnixListener
	path string
}

func (l ownerOnly) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peerUser(c)
		if err == nil && mayAsk(uid, os.Geteuid()) {
			return c, nil
		}
		c.Close()
	}
}

// mayAsk says whether a user may ask a node that runs as another.
func mayAsk(peer uint32, own int) bool { return peer == 0 || int64(peer) == int64(own) }

func (l ownerOnly) Close() error {
	return errors.Join(l.UnixListener.Close(), os.Remove(l.path))
}

func peerUser(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return cred.Uid, nil
}
