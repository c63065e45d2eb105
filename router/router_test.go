package router

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// rules makes Rules of lines as they stand in an ini: the option without its table's name, then the value.
func rules(t testing.TB, lines ...string) (all []Rule) {
	t.Helper()
	kinds := map[string]Kind{"if": If, "if-not": IfNot, "run": Run, "label": Label, "status": Status}
	for i, line := range lines {
		option, value, ok := strings.Cut(line, " = ")
		if !ok {
			t.Fatalf("%q is no rule", line)
		}
		end := strings.Index(option, "route") + len("route")
		rule := Rule{Table: option[:end], Subject: strings.TrimPrefix(option[end:], "-"), Where: fmt.Sprintf("app.ini:%d", i+1)}
		if kind, ok := kinds[rule.Subject]; ok {
			rule.Kind, rule.Subject = kind, ""
		}
		switch rule.Kind {
		case Run:
			rule.Action = value
		case Label:
			rule.Test = value
		default:
			rule.Test, rule.Action, _ = strings.Cut(value, " ")
		}
		all = append(all, rule)
	}
	return all
}

func compiledRouter(t testing.TB, menu Menu, lines ...string) *Router {
	t.Helper()
	site, err := Compile(rules(t, lines...), menu, quiet)
	if err != nil {
		t.Fatalf("Compile(%q): %v", lines, err)
	}
	return site
}

func get(site http.Handler, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	site.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
	return w
}

func TestConditions(t *testing.T) {
	for condition, want := range map[string]bool{
		"equal:a;a":             true,
		"eq:a;b":                false,
		"==:;":                  true,
		"equal:a":               false,
		"startswith:abc;ab":     true,
		"startswith:abc;":       true,
		"startswith:abc;b":      false,
		"endswith:abc;bc":       true,
		"contains:aaab;aab":     true, // uWSGI's scan misses this one
		"contain:abc;":          false,
		"regexp:abc;^a(.)c$":    true,
		"re:abc;B":              false,
		"re:abc;(?i)B":          true,
		"regexp:a;b;^a":         false,
		"regexp:b;a;b":          false,
		"regexp:b\\sa;a":        true,
		"empty:":                true,
		"empty:${NOPE}":         true,
		"empty:x":               false,
		">:11;10":               true,
		"ishigher:9;10":         false,
		">:text;-1":             true,
		">=:10;10":              true,
		"islower:-5x;0":         true,
		"<=:;0":                 true,
		"<:99999999999999999;1": false,
		">:99999999999999999999;9223372036854775806": true,
		"ipv4in:10.2.3.4;10.0.0.0/8":                 true,
		"ipv4in:11.2.3.4;10.0.0.0/8":                 false,
		"ipv4in:10.2.3.4;10.2.3.4":                   true,
		"ipv4in:bogus;0.0.0.0/0":                     false,
		"ipv4in:::1;0.0.0.0/0":                       false,
		"ipv6in:fe80::1;fe80::/10":                   true,
		"ipv6in:::1;fe80::/10":                       false,
		"lord:blue":                                  true,
		"lord:red":                                   false,
	} {
		menu := Core()
		menu.Conditions["lord"] = Lord(func(legion string) bool { return legion == "blue" })
		for option, status := range map[string]int{"route-if": 200, "route-if-not": 201} {
			site := compiledRouter(t, menu, "route-run = addvar:X=1", option+" = "+condition+" return:200", "route-run = return:201")
			if !want {
				status = 401 - status
			}
			if got := get(site, "/").Code; got != status {
				t.Errorf("%s %s = %d, want %d", option, condition, got, status)
			}
		}
	}
}

func TestFileConditions(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "plain"), nil, 0o644)
	os.WriteFile(filepath.Join(dir, "run"), nil, 0o755)
	os.Mkdir(filepath.Join(dir, "sub"), 0o755)
	os.Symlink("plain", filepath.Join(dir, "link"))
	os.Symlink("nothere", filepath.Join(dir, "dangling"))
	names := []string{"exists", "isfile", "isdir", "islink", "isexec"}
	for file, want := range map[string]string{
		"plain": "exists isfile", "run": "exists isfile isexec", "sub": "exists isdir isexec",
		"link": "exists isfile islink", "dangling": "islink", "none": "",
	} {
		var lines []string
		for _, name := range names {
			lines = append(lines, "route-if = "+name+":"+dir+"${PATH_INFO} addheader:X-Is: "+name)
		}
		got := strings.Join(get(compiledRouter(t, Core(), lines...), "/"+file).Header().Values("X-Is"), " ")
		if got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
}

func TestMistakes(t *testing.T) {
	for line, want := range map[string]string{
		"route = ^/foo last":                       "an action ends at a colon, also without arguments: write \"last:\"",
		"route = ^/foo":                            "there is no action: the first space ends the test",
		"route = ^/foo nosuch:x":                   `there is no action "nosuch"`,
		"route = ^/foo retrun:404":                 `there is no action "retrun"; did you mean return?`,
		"route = ^/foo addhaeder X":                `there is no action in "addhaeder X": an action is name:arguments, with its colon; did you mean addheader?`,
		"route = ^/(foo last:":                     `regular expression "^/(foo": at byte 6: a ( is not closed`,
		"route-if = equals:a;b last:":              `there is no condition "equals"; did you mean equal?`,
		"route-if = equal last:":                   "a condition is name:arguments",
		"route-if = regexp:a;( last:":              "regexp:",
		"route-urri = x last:":                     "no such part of a request; did you mean uri?",
		"route-status = 404 last:":                 "the request table runs before there is a status",
		"error-route-status = 4xx last:":           `"4xx" is not a status`,
		"route-run = goto:nowhere":                 `there is no label "nowhere" in this table`,
		"route-run = goto:0":                       `"0" is not ahead of this rule`,
		"route-run = goto:7":                       `there is no label "7"`,
		"route-run = return:4":                     `"4" is not a status`,
		"route-run = return:100":                   `"100" is not a status`,
		"route-run = break:abc":                    `"abc" is not a status`,
		"route-run = clearheaders:":                `"" is not a status`,
		"route-run = addheader:nocolon":            `"nocolon" has no colon`,
		"route-run = addheader:no name: x":         `"no name" is not a header name`,
		"route-run = addvar:X":                     "it needs NAME=VALUE",
		"route-run = redirect:":                    "it needs a URL",
		"route-run = +:":                           "it needs the name of a variable",
		"route-run = goon:":                        "-next form",
		"route-run = logvar:=1":                    "it needs NAME=VALUE",
		"some-route-run = last:":                   `there is no table "some-route"`,
		"route-if = regexp:${PATH_INFO};(?R) log:": "(?R is not known here",
	} {
		_, err := Compile(rules(t, line), Core(), quiet)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "app.ini:1: ") {
			t.Errorf("Compile(%q) = %v, want app.ini:1: ...%s", line, err, want)
		}
	}
}

func TestMistakesAreToldTogether(t *testing.T) {
	_, err := Compile(rules(t, "route = ( return:1", "route-run = last:", "final-route-run = nosuch:", "error-route-run = goto:x"), Core(), quiet)
	for _, want := range []string{"app.ini:1: route: ", "is not a status", "app.ini:3: final-route-run: ", "app.ini:4: error-route-run: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Compile = %v, want it to say %q", err, want)
		}
	}
}

func TestNotices(t *testing.T) {
	site := compiledRouter(t, Core(), "route-if = regexp:${PATH_INFO} last:")
	if got := fmt.Sprint(site.Notices()); !strings.Contains(got, "app.ini:1: route-if: regexp:") {
		t.Errorf("Notices() = %s, want the condition without a semicolon", got)
	}
}

func TestBackwardLabel(t *testing.T) {
	_, err := Compile(rules(t, "route-label = top", "route = ^/a goto:top"), Core(), quiet)
	if err == nil || !strings.Contains(err.Error(), "is not ahead") {
		t.Errorf("Compile = %v, want the label to be behind", err)
	}
}

func TestPanicBecomesAnswer(t *testing.T) {
	menu := Core()
	menu.Handler = func(*Request) { panic("oh") }
	if got := get(compiledRouter(t, menu), "/"); got.Code != 500 || got.Body.String() != "Internal Server Error" {
		t.Errorf("answer %d %q, want 500", got.Code, got.Body)
	}
	menu.Handler = func(r *Request) {
		r.WriteString("half")
		panic("oh")
	}
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("panic %v after the head was sent, want http.ErrAbortHandler", p)
		}
	}()
	get(compiledRouter(t, menu), "/")
}

func TestFailures(t *testing.T) {
	menu := Core()
	menu.Actions["fail"] = func(string, *Scope) (Action, error) {
		return func(r *Request) Verdict { return r.Fail(errors.New("no")) }, nil
	}
	var log strings.Builder
	site, err := Compile(rules(t, "route-run = fail:"), menu, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if got := get(site, "/").Code; got != 500 {
			t.Fatalf("status %d, want 500", got)
		}
	}
	if n := strings.Count(log.String(), "rule failed"); n < 1 || n > 20 {
		t.Errorf("1000 failures made %d log lines, want about one a second", n)
	}
	if got := site.Stats(); got.Failures != 1000 || got.Requests != 1000 {
		t.Errorf("Stats() = %+v, want 1000 and 1000", got)
	}
}

// Each request has its own groups and variables, however many run the same rule at once.
func TestManyAtOnce(t *testing.T) {
	site := compiledRouter(t, Core(),
		`route = ^/(\w+)/(\w+)$ addvar:V=$1`,
		`route-if = regexp:${PATH_INFO};/(\w+)$ addheader:X-Last: $1`,
		`route = ^/(?=(\w+))/?.*?(\w+)$ addheader:X-Look: $1`,
		"route-run = clearheaders:200 OK",
		"route-run = send:${V} ${qs[q]}",
		"route-run = break:")
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for n := range 50 {
				a, b := fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", n)
				got := get(site, "/"+a+"/"+b+"?q="+b)
				if body := got.Body.String(); body != a+" "+b || got.Header().Get("X-Last") != b {
					t.Errorf("%s/%s gives body %q, last %q", a, b, body, got.Header().Get("X-Last"))
					return
				}
			}
		})
	}
	wg.Wait()
}

// What one request leaves behind, the next must not see.
func TestRequestsAreApart(t *testing.T) {
	site := compiledRouter(t, Core(), "route = ^/set addvar:V=old", "route = ^/set addheader:X-Old: 1", "route = ^/set delheader:Content-Type",
		"route = ^/set donotlog:", "route-run = addheader:X-V: [${V}]")
	get(site, "/set")
	got := get(site, "/").Header()
	if got.Get("X-V") != "[]" || got.Get("X-Old") != "" || got.Get("Content-Type") == "" {
		t.Errorf("the second request's head is %v", got)
	}
}

func ExampleCompile() {
	site, err := Compile([]Rule{
		{Table: "route", Kind: Match, Test: "^/hello/(.*)$", Action: "clearheaders:200 OK", Where: "app.ini:1"},
		{Table: "route", Kind: Match, Test: "^/hello/(.*)$", Action: "send:Hello $1", Where: "app.ini:2"},
		{Table: "route", Kind: Match, Test: "^/hello", Action: "break:", Where: "app.ini:3"},
	}, Core(), quiet)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(get(site, "/hello/world").Body)
	// Output: Hello world
}

// A handler of net/http can answer too: Request is its ResponseWriter, and the rules see what it does.
func TestHandlerOfHTTP(t *testing.T) {
	menu := Core()
	menu.Handler = func(r *Request) {
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Mine", "1")
			w.WriteHeader(http.StatusTeapot)
			w.WriteHeader(http.StatusOK) // too late
			io.WriteString(w, "short ")
			w.(http.Flusher).Flush()
			w.Write([]byte("and stout"))
		}).ServeHTTP(r, r.HTTP)
	}
	got := get(compiledRouter(t, menu, "response-route-status = 418 addheader:X-Size: ${uwsgi[rsize]}", "error-route-status = 418 addheader:X-Error: yes"), "/")
	if got.Code != 418 || got.Body.String() != "short and stout" || !got.Flushed || fmt.Sprint(got.Header()["X-Mine"], got.Header()["X-Size"], got.Header()["X-Error"]) != "[1] [0] [yes]" {
		t.Errorf("answer %d %v %q", got.Code, got.Header(), got.Body)
	}
}

// A response rule may answer in the handler's place.
func TestResponseRuleAnswers(t *testing.T) {
	for action, want := range map[string]string{"send:instead": "instead", "log:x": ""} {
		site := compiledRouter(t, Core(), "response-route-run = "+action, "response-route-run = break:", "route-run = clearheaders:200 OK")
		if got := get(site, "/"); got.Code != 404 || got.Body.String() != want {
			t.Errorf("%s: answer %d %q, want 404 %q", action, got.Code, got.Body, want)
		}
	}
}

func TestRequestLog(t *testing.T) {
	var log strings.Builder
	site, err := Compile(rules(t, "route = ^/quiet donotlog:", "route = ^/(.*) logvar:item=$1"), Core(),
		slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	get(site, "/quiet")
	get(site, "/loud?x")
	if got := log.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "method=GET uri=/loud?x client=192.0.2.1 status=404 bytes=9 ") || !strings.Contains(got, "item=loud") {
		t.Errorf("the log is %s", got)
	}
}

func TestReadTypesFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mime.types")
	os.WriteFile(path, []byte("# comment\ntext/html html htm # more\ntext/empty\n"), 0o600)
	types, err := ReadTypes(path)
	if err != nil || len(types) != 2 || types.Of("x.htm") != "text/html" {
		t.Errorf("ReadTypes = %v, %v", types, err)
	}
}
