package cluster

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Identity is who this node is: an id that stays with its data directory, and the number of this start. An
// identity read from a directory keeps that directory locked until Close or the end of the process.
type Identity struct {
	ID        string // uuid, 36 characters; never changes
	Counter   uint32 // starts of this identity so far, this one included
	Random    uint32 // drawn at each start
	ClusterID string // the cluster it belongs to; "" until known. Written by SetClusterID only

	mu   sync.Mutex
	dir  string // "": in memory
	lock *os.File
}

// Files in the data directory.
const (
	identityFile = "identity"
	lockFile     = "lock"
)

// NewIdentity makes an identity in memory, for tests: an empty id makes a new one.
func NewIdentity(id string, counter uint32) *Identity {
	if id == "" {
		id = newUUID()
	}
	return &Identity{ID: id, Counter: counter, Random: random32()}
}

// OpenIdentity locks a data directory, making it if need be, and begins a new boot of the identity in it:
// the counter is on disk before this returns, so no boot is ever numbered like an earlier one. The
// directory becomes readable for its owner only.
func OpenIdentity(dir string) (*Identity, error) {
	i := &Identity{dir: dir, Random: random32()}
	if err := i.open(); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	return i, nil
}

func (i *Identity) open() (err error) {
	if err := makePrivate(i.dir); err != nil {
		return err
	}
	if i.lock, err = lockDir(i.dir); err != nil {
		return err
	}
	if err = i.read(); err == nil {
		if i.Counter == math.MaxUint32 {
			err = errors.New("this identity was started 4 billion times: remove the directory to begin a new one")
		} else {
			i.Counter++
			err = i.write()
		}
	}
	if err != nil {
		i.lock.Close()
	}
	return err
}

// Boot tells this start from all others of this identity; a later start has a greater one.
func (i *Identity) Boot() uint64 { return uint64(i.Counter)<<32 | uint64(i.Random) }

// SetClusterID notes which cluster the node belongs to. It is on disk when this returns, and cannot be
// changed any more.
func (i *Identity) SetClusterID(id string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.ClusterID == id:
		return nil
	case i.ClusterID != "":
		return fmt.Errorf("this node belongs to cluster %s and cannot change to %s: give it a new data directory", i.ClusterID, id)
	case id == "" || len(id) > longestClusterID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("%q is no cluster id", id)
	}
	before := i.ClusterID
	i.ClusterID = id
	if i.dir == "" {
		return nil
	}
	if err := i.write(); err != nil {
		i.ClusterID = before
		return fmt.Errorf("data directory %s: %w", i.dir, err)
	}
	return nil
}

// Close gives the data directory free.
func (i *Identity) Close() error {
	if i.lock == nil {
		return nil
	}
	return i.lock.Close()
}

// makePrivate makes the directory, or takes the rights of others on it away. It leaves directories alone
// that many use, such as /tmp.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case mode&(fs.ModeSticky|0o002) != 0:
		return errors.New("others write there too: give this node a directory of its own")
	case mode&0o077 != 0:
		return os.Chmod(dir, 0o700)
	}
	return nil
}

// lockDir takes the directory for this process. The kernel gives it free when the process is gone.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0)
		f.Close()
		return nil, fmt.Errorf("in use by another cohort (pid %s): two nodes need two directories", bytes.TrimSpace(holder[:n]))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock it: %w", err)
	}
	// Who holds it is for the message above only: the lock itself is the kernel's.
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return f, nil
}

// read fills in what is known; a directory without an identity gets a new one.
func (i *Identity) read() error {
	b, err := os.ReadFile(filepath.Join(i.dir, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		i.ID = newUUID()
		return nil
	}
	if err != nil {
		return err
	}
	if err := i.parse(b); err != nil {
		return fmt.Errorf("the file %q is damaged (%w): restore it, or remove the directory to begin as a new node", identityFile, err)
	}
	return nil
}

func (i *Identity) parse(b []byte) error {
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " = ")
		switch key {
		case "id":
			i.ID = value
		case "boot":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return fmt.Errorf("boot %q", value)
			}
			i.Counter = uint32(n)
		case "cluster":
			i.ClusterID = value
		}
	}
	if !isUUID(i.ID) || i.Counter == 0 {
		return errors.New("no id or no boot")
	}
	return nil
}

// write replaces the file in one step: after a crash it holds what it held before, or this.
func (i *Identity) write() error {
	text := fmt.Sprintf("id = %s\nboot = %d\n", i.ID, i.Counter)
	if i.ClusterID != "" {
		text += "cluster = " + i.ClusterID + "\n"
	}
	path := filepath.Join(i.dir, identityFile)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	d, err := os.Open(i.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// newUUID draws a version 4 uuid (RFC 9562).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f'):
			return false
		}
	}
	return true
}

func random32() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return binary.BigEndian.Uint32(b[:])
}
