// Package e2e tests cohort as a whole: real processes, real clients, and the plan of the house.
package e2e

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/cohortd/cohort"

// floors is the plan of the house: each room, and the rooms below it that it may look into. Neighbours do
// not know each other; node introduces them. A new folder starts here.
var floors = map[string][]string{
	// Top: arguments, signals, exit codes.
	"cmd/cohort": {"node", "config", "api", "cluster", "daemons", "legion"},
	// The only package that knows all parts.
	"node": {"config", "cluster", "cachefsm", "cachefsm/cache", "cachefsm/lord", "cachefsm/op", "legion", "daemons", "router", "router/cache", "gateway", "api", "clock"},
	// Fills in each part's Config, and asks each part whether it makes sense.
	"config": {"cluster", "cachefsm", "cachefsm/cache", "cachefsm/lord", "legion", "daemons", "router", "gateway"},
	// The parts.
	"api":      {},
	"cluster":  {},
	"cachefsm": {"cachefsm/op", "cachefsm/cache", "clock"},
	"legion":   {"cachefsm/lord", "cachefsm/op", "clock"},
	"daemons":  {"clock"},
	"gateway":  {"router"},
	// Below the parts.
	"router/cache":   {"router"},
	"router":         {},
	"cachefsm/cache": {"cachefsm/op"},
	"cachefsm/lord":  {"cachefsm/op"},
	"cachefsm/op":    {},
	"clock":          {},
	// Beside the house.
	"e2e":        {"cluster", "cachefsm", "cachefsm/cache", "cachefsm/op", "api", "node", "config", "e2e/memnet", "clock"},
	"e2e/memnet": {"clock"},
}

// outside says which one room a third-party package lives in.
var outside = map[string]string{
	"github.com/hashicorp/memberlist":      "cluster",
	"github.com/hashicorp/raft":            "cachefsm",
	"github.com/hashicorp/raft-boltdb":     "cachefsm",
	"github.com/hashicorp/raft-wal":        "cachefsm",
	"go.etcd.io/bbolt":                     "cachefsm",
	"golang.org/x/crypto/blowfish":         "legion",
	"github.com/dlclark/regexp2":           "router",
	"github.com/spf13/cobra":               "cmd/cohort",
	"github.com/anishathalye/porcupine":    "cachefsm",
	"github.com/rogpeppe/go-internal/test": "cmd/cohort",
}

func TestFloors(t *testing.T) {
	root := ".."
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			if path != root && exists(filepath.Join(path, "go.mod")) { // a module of its own
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(path, ".go") {
			room, _ := filepath.Rel(root, filepath.Dir(path))
			seen[room] = true
			checkFile(t, path, room)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for room := range floors {
		if !seen[room] {
			t.Errorf("room %q is on the plan and has no Go file", room)
		}
	}
}

func checkFile(t *testing.T, path, room string) {
	allowed, ok := floors[room]
	if !ok {
		t.Errorf("%s: room %q is not on the plan; add it to floors, below what may import it", path, room)
		return
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	test := strings.HasSuffix(path, "_test.go")
	for _, imp := range file.Imports {
		what, _ := strconv.Unquote(imp.Path.Value)
		if inner, ok := strings.CutPrefix(what, module+"/"); ok {
			if inner != room && !slices.Contains(allowed, inner) && !(test && inner == "e2e/memnet") {
				t.Errorf("%s imports %s: %q may look into %q only", path, inner, room, allowed)
			}
			continue
		}
		for prefix, home := range outside {
			if strings.HasPrefix(what, prefix) && room != home && !strings.HasPrefix(room, home+"/") && !test {
				t.Errorf("%s imports %s, which lives in %q", path, what, home)
			}
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
