package daemons

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// note is the state file of one guardian: it is there before the guardian may start anything, and goes when everything is
// down and undone. It has no secrets; the ticket is not in it.
type note struct {
	Token       string
	PID         int    // of the guardian
	Start       uint64 // of the guardian, see process
	Kernel      string // the kernel's boot id: after a reboot the pid says nothing
	Legion      string
	Epoch       uint64
	Node        string
	Boot        uint64
	Leaf        leaf
	UnlordHooks []string      `json:",omitempty"`
	HookTimeout time.Duration `json:",omitempty"`
	EndsIn      time.Duration // how long the guardian takes at most once its node is dead
}

const noteSuffix = ".guardian"

// kernelBoot is different after each start of the machine.
func kernelBoot() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it: empty on both sides, and the pid decides
	return strings.TrimSpace(string(b))
}

func (n *note) write(path string) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func readNote(path string) (*note, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	n := new(note)
	if err := json.Unmarshal(b, n); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, errNote, err)
	}
	if len(n.Token) < 16 || strings.ContainsAny(n.Token, "/=\x00") || n.Leaf != "" && !strings.HasPrefix(filepath.Base(string(n.Leaf)), leafPrefix) {
		return nil, fmt.Errorf("%s: %w", path, errNote)
	}
	return n, nil
}

// errNote says that a file is no state file. They are not synced, so this is what a power failure may leave, after which
// nothing lives anyway.
var errNote = errors.New("daemons: not a guardian's state file")

// notes is the paths of all state files in dir, one that was never finished excepted: it names nothing that was started.
func notes(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), noteSuffix) {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, nil
}
