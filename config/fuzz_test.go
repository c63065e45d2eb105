package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// seeds are the inis of all scripts and examples.
func seeds(f *testing.F) []string {
	var texts []string
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, script := range scripts {
		archive, err := txtar.ParseFile(script)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if file.Name == "node.ini" {
				texts = append(texts, string(file.Data))
			}
		}
	}
	for _, e := range newcomers {
		text, err := os.ReadFile(e)
		if err != nil {
			f.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

// FuzzIni reads any text, and looks that each entry stands where its place says.
func FuzzIni(f *testing.F) {
	for _, text := range seeds(f) {
		f.Add(text, "")
	}
	f.Add("[x\n=\n%\n[]\r\n a = %(b) %%( $(", "x")
	f.Fuzz(func(t *testing.T, text, section string) {
		_, r := read(t, "node.ini", section, text, map[string]string{"A": "$(B)", "B": "%(a)"})
		lines := strings.Split(text, "\n")
		for _, e := range r.entries {
			if e.line < 1 || e.line > len(lines) {
				t.Fatalf("entry %q stands on line %d of %d", e.key, e.line, len(lines))
			}
			if line := lines[e.line-1]; !strings.Contains(line, "%") && !strings.Contains(line, e.key) {
				t.Fatalf("entry %q is not on line %d, %q", e.key, e.line, line)
			}
		}
		checkPlaces(t, r, len(lines))
	})
}

// FuzzLoad sends any text and any words through everything.
func FuzzLoad(f *testing.F) {
	for _, text := range seeds(f) {
		f.Add(text, "--node n1 --cluster=127.0.0.1:7400")
	}
	f.Add("", "--set a=%(a) --strict --legion l --x -- --legion-timing l")
	f.Fuzz(func(t *testing.T, text, args string) {
		r := newReader(func(name string) (string, bool) { return "%(" + name + ")", len(name) == 1 })
		r.source("node.ini", "", text)
		r.arguments(strings.Fields(args))
		r.run()
		c := checkPlaces(t, r, strings.Count(text, "\n")+1)
		for _, k := range c.Caches {
			if k.Name == "" || k.Items < 1 || k.BlockSize < 1 || k.KeySize < 1 {
				t.Fatalf("cache %+v", k)
			}
		}
		for _, l := range c.Legions {
			if l.Name == "" || l.Secret == "" || l.Valor < 0 || l.Announce <= 0 || l.HookTimeout <= 0 {
				t.Fatalf("legion %+v", l)
			}
		}
		for _, d := range c.Daemons {
			if d.Name == "" || d.Command == "" || d.StopGrace <= 0 || d.Pidfile != "" && d.Freq < 1 {
				t.Fatalf("daemon %+v", d)
			}
		}
		if c.Node == "" || c.Data == "" || c.Cluster.Name == "" || c.Raft.ControlTimeout <= 0 && len(r.mistakes) == 0 {
			t.Fatalf("config %+v", c)
		}
		c.Summary()
	})
}

// checkPlaces looks that every mistake and notice stands in the file or on the command line.
func checkPlaces(t *testing.T, r *reader, lines int) *Config {
	c, err := r.result()
	for _, err := range flatten(err) {
		var e *Error
		switch {
		case !errors.As(err, &e):
			t.Fatalf("%v has no place", err)
		case e.File == commandLine && e.Line >= 0:
		case e.File == "node.ini" && e.Line >= 0 && e.Line <= lines:
		default:
			t.Fatalf("%v stands at %q:%d of %d lines", err, e.File, e.Line, lines)
		}
	}
	for _, n := range c.Notices {
		if !strings.HasPrefix(n, "node.ini:") && !strings.HasPrefix(n, commandLine+": ") {
			t.Fatalf("notice without a place: %s", n)
		}
	}
	return c
}
