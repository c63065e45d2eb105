package daemons

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// errNotPidfile says that what stands there is no file with a pid in it.
var errNotPidfile = errors.New("daemons: not a pidfile")

// readPidfile reads a pid. The file is a stranger's as long as nothing proves otherwise: no link is followed, nothing but
// a regular file is read (opening a fifo would block), and not more than a pid needs.
func readPidfile(path string) (pid int, err error) {
	f, err := openPidfile(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return 0, err
	}
	words := strings.Fields(string(b))
	if len(words) == 0 {
		return 0, errNotPidfile
	}
	pid, err = strconv.Atoi(words[0])
	if err != nil || pid <= 1 {
		return 0, errNotPidfile
	}
	return pid, nil
}

func openPidfile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errNotPidfile
	}
	return f, nil
}

// removePidfile takes a stale pidfile away so that the program does not take it for a running copy of itself. The file
// goes only if it still is what was read; anything but a regular file stays.
func removePidfile(path string, pid int) error {
	f, err := openPidfile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove pidfile: %w", err)
	}
	defer f.Close()
	held, err := f.Stat()
	if err != nil {
		return fmt.Errorf("remove pidfile: %w", err)
	}
	there, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("remove pidfile: %w", err)
	}
	if now, err := readPidfile(path); !os.SameFile(held, there) || err == nil && now != pid {
		return fmt.Errorf("remove pidfile: %w", errNotPidfile)
	}
	return os.Remove(path)
}
