package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what came into the scripts")

// TestScripts loads node.ini of each script, with the words of args and the NAME=VALUE lines of env, and
// compares errors and notices with all that came. Each line of config must be found in the Config, and each
// line that begins with "!" must not begin one there. Further files lie beside node.ini.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		path, err := filepath.Abs(script)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txtar"), func(t *testing.T) { runScript(t, path) })
	}
}

func runScript(t *testing.T, path string) {
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	part := map[string]string{}
	for _, f := range archive.Files {
		part[f.Name] = string(f.Data)
		if err := os.WriteFile(f.Name, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := func(name string) (string, bool) {
		for line := range strings.Lines(part["env"]) {
			if n, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "="); n == name {
				return value, true
			}
		}
		return "", false
	}
	ini := "node.ini" + strings.TrimSpace(part["section"])
	c, err := Load(ini, strings.Fields(part["args"]), env)

	got := map[string]string{"errors": "", "notices": ""}
	if err != nil {
		got["errors"] = err.Error() + "\n"
	}
	for _, n := range c.Notices {
		got["notices"] += n + "\n"
	}
	if *update {
		updateScript(t, path, archive, got)
		return
	}
	for name, text := range got {
		if text != part[name] {
			t.Errorf("%s of Load(%s):\n%swant:\n%s", name, ini, text, part[name])
		}
	}
	have := dump(c)
	for line := range strings.Lines(part["config"]) {
		line = strings.TrimSuffix(line, "\n")
		if prefix, not := strings.CutPrefix(line, "!"); not {
			if i := slices.IndexFunc(have, func(h string) bool { return strings.HasPrefix(h, prefix) }); i >= 0 {
				t.Errorf("Load(%s) gives %s, want none of it", ini, have[i])
			}
		} else if !slices.Contains(have, line) {
			t.Errorf("Load(%s) does not give %s, but:\n%s", ini, line, strings.Join(have, "\n"))
		}
	}
}

func updateScript(t *testing.T, path string, archive *txtar.Archive, got map[string]string) {
	archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == "errors" || f.Name == "notices" })
	for _, name := range []string{"errors", "notices"} {
		if got[name] != "" {
			archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(got[name])})
		}
	}
	if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// dump writes a Config as lines of "Field.Field = value", without what is zero.
func dump(c *Config) []string {
	var lines []string
	var walk func(name string, v reflect.Value)
	walk = func(name string, v reflect.Value) {
		switch {
		case v.IsZero():
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				walk(name+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				walk(fmt.Sprintf("%s[%d]", name, i), v.Index(i))
			}
		default:
			lines = append(lines, fmt.Sprintf("%s = %v", name[1:], v.Interface()))
		}
	}
	walk("", reflect.ValueOf(*c))
	return lines
}

func TestLoadWithoutAFile(t *testing.T) {
	c, err := Load("", []string{"--node", "n1", "--http-socket=127.0.0.1:0"}, os.LookupEnv)
	if err != nil || c.Node != "n1" || len(c.Gateway.Listen) != 1 {
		t.Errorf("Load with options only = %+v, %v, want node n1 with one address", c, err)
	}
}

func TestLoadMissingFile(t *testing.T) {
	_, err := Load("nowhere.ini", nil, os.LookupEnv)
	var mistake *Error
	if !errors.As(err, &mistake) || mistake.File != "nowhere.ini" || mistake.Line != 0 || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load(nowhere.ini) = %v, want an *Error of the whole file that is os.ErrNotExist", err)
	}
}

func TestSecretFile(t *testing.T) {
	const good = "0123456789abcdef0123456789abcdef"
	for name, tt := range map[string]struct {
		content string
		mode    os.FileMode
		want    string
		notice  bool
		wrong   string
	}{
		"the line break is no part of it": {content: good + "\n", mode: 0o600, want: good},
		"others may read it":              {content: good, mode: 0o644, want: good, notice: true},
		"empty":                           {content: "\n", mode: 0o600, wrong: "must hold one line"},
		"too long":                        {content: strings.Repeat("x", 5000), mode: 0o600, wrong: "must hold one line"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(file, []byte(tt.content), tt.mode); err != nil {
				t.Fatal(err)
			}
			c, err := Load("", []string{"--cluster", "10.0.0.1:7400", "--cluster-expect", "1", "--cluster-secret-file", file}, os.LookupEnv)
			if tt.wrong == "" && err != nil || tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
				t.Errorf("Load = %v, want an error with %q", err, tt.wrong)
			}
			if c.Cluster.Secret != tt.want || len(c.Notices) > 0 != tt.notice {
				t.Errorf("Load = secret %q, notices %q, want %q, notice %v", c.Cluster.Secret, c.Notices, tt.want, tt.notice)
			}
		})
	}
	for _, path := range []string{"/dev/zero", t.TempDir(), "/nowhere"} {
		if _, err := Load("", []string{"--cluster-secret-file", path}, os.LookupEnv); err == nil {
			t.Errorf("cluster-secret-file %s is accepted, want an error", path)
		}
	}
}

// No secret may be seen in an error or a notice, however wrong the line is that it stands in.
func TestNoSecretIsTold(t *testing.T) {
	const secret = "hush-9f8e7d"
	for _, line := range []string{
		"legion = l1 " + secret,
		"legion = l1 x bf-cbc:" + secret,
		"legion = bf-cbc:" + secret,
		"legion = " + secret + " bf-cbc:" + secret,
		"legion = l1 100x bf-cbc:" + secret,
		"legion = l1 70000 bf-cbc:" + secret,
		"legion = l1 225.1.1.1:4242 100 bf-cbc:" + secret + " iv",
		"legion = l1 225.1.1.1:4242 bf-cbc:" + secret + " iv",
		"legion-mcast = l1 100 bf-cbc:" + secret,
		"legion-old-secret = l1 " + secret,
		"cluster-secret = " + secret,
		"cluster-secret = " + secret + " $(NOT_SET)",
		"cluster-old-secret = " + secret + " %(none)",
		"cluster-secret-file\n" + "bf-cbc:" + secret,
		"cluster-secrt = " + secret,
	} {
		r := newReader(func(string) (string, bool) { return "", false })
		r.source("node.ini", "", "[cohort]\ncluster-join = 10.0.0.1:7400\n"+line+"\n")
		r.run()
		c, err := r.result()
		if told := fmt.Sprint(err, c.Notices, c.Summary()); strings.Contains(told, secret) {
			t.Errorf("%s is answered with %s", line, told)
		}
	}
}

func ExampleLoad() {
	c, err := Load("../examples/limiter.ini", []string{"--node", "n1", "--http-socket", ":8081"}, os.LookupEnv)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, line := range c.Summary() {
		fmt.Println(line)
	}
	// Output:
	// node n1, data in ./cohort-data/n1
	// cluster cohort on 127.0.0.1:7400, joins 127.0.0.1:7400, cluster-expect 1
	// cache limiter: 100000 items of 8 bytes, replicated
	// http on :8081
	// rules: 7
}

func ExampleHelp() {
	if err := Help(os.Stdout, "caches"); err != nil {
		fmt.Println(err)
	}
	// Output:
	// caches:
	//   --cache2 name=NAME,items=N[,blocksize=64K][,keysize=2048][,scope=cluster|node][,unavailable=closed|open]
	//       a cache; the first one is the default
}
