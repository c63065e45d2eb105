package cache

import (
	"bufio"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/cohortd/cohort/router"
)

// TestScripts replays the .txtar files of this package and of router: rules, requests and wanted answers.
//
//	-- rules --                   lines of an ini file; cache2 = NAME[,open] defines a cache
//	-- request wait=2s repeat=3   a request, after a pause, several times
//	-- want --                    of the last one: status line, headers (!Name: is absent), body
//	-- log --                     what the log must hold by now
func TestScripts(t *testing.T) {
	var files []string
	for _, pattern := range []string{"testdata/*.txtar", "../testdata/*.txtar"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("Glob(%q) = %v, %v, want scripts", pattern, found, err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) { replay(t, archive) })
		})
	}
}

func replay(t *testing.T, archive *txtar.Archive) {
	var log strings.Builder
	var site *router.Router
	var got *answer
	for _, f := range archive.Files {
		name, options, _ := strings.Cut(f.Name, " ")
		switch name {
		case "rules":
			site = compile(t, string(f.Data), &log)
		case "request":
			got = ask(t, site, options, string(f.Data))
		case "want":
			if got == nil {
				t.Fatal("want before the first request")
			}
			got.check(t, string(f.Data))
		case "log":
			for line := range strings.Lines(string(f.Data)) {
				if !strings.Contains(log.String(), strings.TrimSpace(line)) {
					t.Errorf("the log lacks %q:\n%s", line, log.String())
				}
			}
		default:
			t.Fatalf("no section is called %q", f.Name)
		}
	}
}

// parseRules reads what config would read, as far as these scripts need it.
func parseRules(text string) (rules []router.Rule, specs []Spec) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		key, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		if key == "" || strings.HasPrefix(key, "#") {
			continue
		}
		if key == "cache2" {
			name, how, _ := strings.Cut(value, ",")
			specs = append(specs, Spec{Name: name, Open: how == "open", Node: how == "node"})
			continue
		}
		rules = append(rules, parseRule(key, value, fmt.Sprintf("rules:%d", n)))
	}
	return rules, specs
}

func parseRule(key, value, where string) router.Rule {
	rule := router.Rule{Where: where}
	table := strings.Index(key, "route") + len("route")
	rule.Table, rule.Subject = key[:table], strings.TrimPrefix(key[table:], "-")
	kinds := map[string]router.Kind{"if": router.If, "if-not": router.IfNot, "run": router.Run, "label": router.Label, "status": router.Status}
	if kind, ok := kinds[rule.Subject]; ok {
		rule.Kind, rule.Subject = kind, ""
	}
	switch rule.Kind {
	case router.Run:
		rule.Action = value
	case router.Label:
		rule.Test = value
	default:
		rule.Test, rule.Action, _ = strings.Cut(value, " ")
	}
	return rule
}

func compile(t *testing.T, text string, log *strings.Builder) *router.Router {
	t.Helper()
	rules, specs := parseRules(text)
	menu := router.Core().With(Menu(newMemory(specs), specs))
	site, err := router.Compile(rules, menu, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return site
}

type answer struct {
	*httptest.ResponseRecorder
	phrase string
}

func (a *answer) SetPhrase(phrase string) { a.phrase = phrase }

func ask(t *testing.T, site *router.Router, options, text string) *answer {
	t.Helper()
	repeat := 1
	for option := range strings.FieldsSeq(options) {
		key, value, _ := strings.Cut(option, "=")
		var err error
		switch key {
		case "wait":
			var d time.Duration
			d, err = time.ParseDuration(value)
			time.Sleep(d)
		case "repeat":
			repeat, err = strconv.Atoi(value)
		default:
			err = fmt.Errorf("unknown option")
		}
		if err != nil {
			t.Fatalf("%s: %v", option, err)
		}
	}
	var a *answer
	for range repeat {
		head, body, _ := strings.Cut(strings.TrimSuffix(text, "\n"), "\n\n")
		head = strings.ReplaceAll(head, "\n", "\r\n") + "\r\nHost: example.com\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
		if body == "" {
			head = strings.Replace(head, "Content-Length: 0\r\n", "", 1)
		}
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + body)))
		if err != nil {
			t.Fatalf("ReadRequest(%q): %v", head, err)
		}
		req.RemoteAddr = "127.0.0.1:50000"
		a = &answer{ResponseRecorder: httptest.NewRecorder()}
		site.ServeHTTP(a, req)
	}
	return a
}

func (a *answer) check(t *testing.T, want string) {
	t.Helper()
	head, body, _ := strings.Cut(strings.TrimSuffix(want, "\n"), "\n\n")
	lines := strings.Split(head, "\n")
	phrase := a.phrase
	if phrase == "" {
		phrase = http.StatusText(a.Code)
	}
	if got := fmt.Sprintf("%d %s", a.Code, phrase); got != lines[0] {
		t.Errorf("status %q, want %q", got, lines[0])
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		if absent, ok := strings.CutPrefix(name, "!"); ok {
			if got := a.Header().Values(absent); len(got) > 0 {
				t.Errorf("header %s: %q, want none", absent, got)
			}
			continue
		}
		if got := strings.Join(a.Header().Values(name), " | "); got != strings.TrimSpace(value) {
			t.Errorf("header %s: %q, want %q", name, got, strings.TrimSpace(value))
		}
	}
	if got := strings.ReplaceAll(a.Body.String(), "\r\n", "\n"); got != body {
		t.Errorf("body %q, want %q", got, body)
	}
	if t.Failed() {
		t.Fatalf("after that request, wanted:\n%s", want)
	}
}
