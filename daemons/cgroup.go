package daemons

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// leaf is a cgroup v2 directory that holds what one guardian has started, and not the guardian; empty: there is none.
type leaf string

const leafPrefix = "cohort-"

// newLeaf makes a leaf below this process's own cgroup, as far as that is allowed.
func newLeaf(name string) (leaf, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	parent := ownCgroup(string(mounts), string(own))
	if parent == "" {
		return "", errors.New("daemons: no cgroup v2 here")
	}
	dir := filepath.Join(parent, leafPrefix+name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	return leaf(dir), nil
}

// ownCgroup is the directory of this process's cgroup, from the texts of mountinfo and cgroup; see proc(5) and cgroups(7).
// The v2 hierarchy may be mounted anywhere, for example at /sys/fs/cgroup/unified, and only in part.
func ownCgroup(mountinfo, cgroup string) string {
	path, found := "", false
	for line := range strings.Lines(cgroup) {
		if rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			path, found = rest, true
		}
	}
	if !found {
		return ""
	}
	for line := range strings.Lines(mountinfo) {
		front, back, ok := strings.Cut(line, " - ")
		fields := strings.Fields(front)
		if !ok || len(fields) < 5 || !strings.HasPrefix(back, "cgroup2 ") {
			continue
		}
		root, point := unescape(fields[3]), unescape(fields[4])
		below, ok := strings.CutPrefix(path, strings.TrimSuffix(root, "/"))
		if ok && (below == "" || below[0] == '/') {
			return filepath.Join(point, below)
		}
	}
	return ""
}

// unescape turns mountinfo's octal escapes back: \040 is a space.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// add moves a process into the leaf.
func (l leaf) add(pid int) error {
	if l == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(string(l), "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

// kill ends everything in the leaf at once. Kernels before 5.14 cannot; there the tree is walked.
func (l leaf) kill() error {
	if l == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(string(l), "cgroup.kill"), []byte("1"), 0)
}

// processes is who is in the leaf, those below it included.
func (l leaf) processes() []process {
	if l == "" {
		return nil
	}
	var out []process
	filepath.WalkDir(string(l), func(path string, _ os.DirEntry, err error) error { //nolint:errcheck // errors are skipped below
		if err != nil || filepath.Base(path) != "cgroup.procs" {
			return nil
		}
		b, _ := os.ReadFile(path)
		for word := range bytes.FieldsSeq(b) {
			if pid, err := strconv.Atoi(string(word)); err == nil && pid > 0 {
				if p, err := look(pid); err == nil {
					out = append(out, p)
				}
			}
		}
		return nil
	})
	return out
}

// remove takes the empty leaf away, and groups that a program has made in it.
func (l leaf) remove() error {
	if l == "" {
		return nil
	}
	entries, err := os.ReadDir(string(l))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, leaf(filepath.Join(string(l), e.Name())).remove())
		}
	}
	// Newer kernels take a dead process out of its cgroup a moment after they report its death.
	removed := os.Remove(string(l))
	for tries := 0; errors.Is(removed, unix.EBUSY) && tries < 50; tries++ {
		time.Sleep(2 * time.Millisecond)
		removed = os.Remove(string(l))
	}
	if err := errors.Join(err, removed); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	return nil
}
