package main

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/cohortd/cohort/api"
)

var update = flag.Bool("update", false, "write docs/options.md")

func TestOptionsPageIsCurrent(t *testing.T) {
	const page = "../../docs/options.md"
	var now bytes.Buffer
	root := commands()
	root.SetArgs([]string{"options", "--markdown"})
	root.SetOut(&now)
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(page, now.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if was, err := os.ReadFile(page); err != nil || !bytes.Equal(was, now.Bytes()) {
		t.Errorf("%s is not what `cohort options --markdown` prints (%v): go test ./cmd/cohort -run OptionsPage -update", page, err)
	}
}

// TestAPIPage runs the commands of docs/api.md against a real node with the ini that stands there.
func TestAPIPage(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "node.ini"), []byte(block(t, string(page), "ini")[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	startNode(t, dir)
	for _, console := range block(t, string(page), "console") {
		for _, example := range strings.Split("\n"+console, "\n$ ")[1:] {
			command, want, _ := strings.Cut(example, "\n")
			cmd := exec.Command("sh", "-c", command)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || !like(got, strings.TrimSpace(want)) {
				t.Errorf("%s\nprinted %s (%v)\nwant    %s", command, got, err, want)
			}
		}
	}
}

// block gives the fenced blocks of a page that are of one kind.
func block(t *testing.T, page, kind string) (out []string) {
	t.Helper()
	for _, b := range strings.Split(page, "\n```"+kind+"\n")[1:] {
		text, _, found := strings.Cut(b, "```\n")
		if !found {
			t.Fatalf("a block of %s does not end", kind)
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		t.Fatalf("the page has no block of %s", kind)
	}
	return out
}

// like says whether got is want, in which ... stands for anything.
func like(got, want string) bool {
	expr := strings.ReplaceAll(regexp.QuoteMeta(want), `\.\.\.`, `(?s:.*)`)
	return regexp.MustCompile(`\A` + expr + `\z`).MatchString(got)
}

// startNode runs node.ini in dir, where it keeps its data in ./data, until the test ends.
func startNode(t *testing.T, dir string) {
	t.Helper()
	bin, err := exec.LookPath("cohort")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(bin, "run", "node.ini")
	cmd.Dir, cmd.Stderr = dir, &log
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the node ended with %v", err)
		}
		if t.Failed() {
			t.Logf("%v; its log:\n%s", err, &log)
		}
	})
	eventually(t, "the node is lord", func() bool {
		s, err := api.NewClient(filepath.Join(dir, "data")).Status(t.Context())
		return err == nil && len(s.Caches) > 0 && len(leaderless(s))+len(lordless(s)) == 0
	})
}
