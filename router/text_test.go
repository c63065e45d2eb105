package router

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// asked is a Request as rules see it.
func asked(target string) *Request {
	r := &Request{router: &Router{host: "host"}}
	r.begin(r.router, httptest.NewRecorder(), httptest.NewRequest("GET", target, nil))
	return r
}

func TestText(t *testing.T) {
	r := asked("/p/q?a=1&b=x=y&c=&c=2")
	r.AddVar("V", "value")
	r.match = match{"0abc", []int{0, 4, 1, 2, -1, -1, 2, 4}}
	s := &Scope{menu: new(Core())}
	for src, want := range map[string]string{
		"":                       "",
		"plain":                  "plain",
		"$1":                     "a",
		"$0|$1|$2|$3|$4":         "0abc|a||bc|",
		"$12":                    "a2",
		"$":                      "$",
		"$$1":                    "$$1", // there is no escape: the second dollar is used up
		"$$$1":                   "$$a",
		"a$ b$$ c$x":             "a$ b$$ c$x",
		"${V}":                   "value",
		"[${NOPE}][${}]":         "[][]",
		"${V":                    "${V",
		"$${V}":                  "$${V}",
		"${V}${PATH_INFO}":       "value/p/q",
		"${A${V}}":               "}", // the first brace closes
		"${nope[x]}":             "",
		"${qs[a]}${qs[b]}":       "1x=y",
		"${qs[c]}${qs[d]}":       "2",
		"${upper[V]}${hex[V]}":   "VALUE76616C7565",
		"${uwsgi[wid]}":          "1",
		"${time[nope]}":          "",
		"${SERVER_NAME}":         "host",
		"${REQUEST_URI}":         "/p/q?a=1&b=x=y&c=&c=2",
		"${HTTP_HOST}":           "example.com",
		"${REMOTE_ADDR}":         "192.0.2.1",
		"${REMOTE_PORT}":         "1234",
		"${HTTP_X}${HTTPS}":      "",
		"${base64[V]}${lower[V]": "dmFsdWU=${lower[V]",
	} {
		if got := s.Text(src).Expand(r); got != want {
			t.Errorf("Text(%q) = %q, want %q", src, got, want)
		}
	}
}

func TestNumber(t *testing.T) {
	for text, want := range map[string]int64{
		"": 0, "5": 5, " \t-7x": -7, "+3": 3, "abc": 0, "0x10": 0, "1.9": 1, "- 1": 0,
		"9223372036854775808": 1<<63 - 1, "-99999999999999999999": -1 << 63,
	} {
		if got := Number(text); got != want {
			t.Errorf("Number(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	s := &Scope{Action: "cacheinc"}
	keys, err := s.Keys(`key=a\,b,value=x=y,expires=,strange=1,noequals,,key=later`, "key", "value", "expires")
	if err != nil || len(keys) != 3 || keys["key"] != "later" || keys["value"] != "x=y" || len(s.notices) != 2 {
		t.Errorf("Keys = %q, %v with notices %q", keys, err, s.notices)
	}
	if _, err = s.Keys("expire=3", "key", "expires"); err == nil || !strings.Contains(err.Error(), "did you mean expires=?") {
		t.Errorf("Keys(expire=3) = %v, want expires= to be offered", err)
	}
	if keys, _ = s.Keys(`key=a\,b`, "key"); keys["key"] != "a,b" {
		t.Errorf("Keys = %q, want a,b", keys)
	}
}

// As read off uWSGI 2.0.21, but for the root.
func TestPathInfo(t *testing.T) {
	for raw, want := range map[string]string{
		"/": "/", "//a": "//a", "/a/./b": "/a/b", "/a/../b": "/b", "/../../x": "/x", "/a/%2e%2e/b": "/a/../b",
		"/a/..": "/", "/a/.": "/a/", "/a/...": "/a/...", "/a//../b": "/a/b", "/a%2fb/../c": "/a/c", "/..": "/", "/./a": "/a",
		"/a/.b": "/a/.b", "/a/..b": "/a/..b", "/a%20b": "/a b", "/a#frag": "/a", "/a%23b": "/a#b", "/a%2520": "/a%20",
		"*": "*", "": "", "a/../b": "/b", "/a%4": "/a%4", "/a%zz": "/a%zz",
	} {
		if got := pathInfo(raw); got != want {
			t.Errorf("pathInfo(%q) = %q, want %q", raw, got, want)
		}
	}
}

func TestSplitTarget(t *testing.T) {
	for target, want := range map[string][2]string{
		"/a?b?c":          {"/a", "b?c"},
		"*":               {"*", ""},
		"http://h/a?b":    {"/a", "b"},
		"http://h":        {"/", ""},
		"http://h?b":      {"/", "b"},
		"example.com:443": {"/", ""},
		"/http://h/a":     {"/http://h/a", ""},
	} {
		if path, query := splitTarget(target); path != want[0] || query != want[1] {
			t.Errorf("splitTarget(%q) = %q, %q, want %q", target, path, query, want)
		}
	}
}

func TestSplitHostPort(t *testing.T) {
	for addr, want := range map[string]string{"1.2.3.4:5": "1.2.3.4", "[::1]:5": "::1", "[fe80::1%eth0]:5": "fe80::1%eth0", "@": "unix:", "": "unix:"} {
		if got, _ := splitHostPort(addr); got != want {
			t.Errorf("splitHostPort(%q) = %q, want %q", addr, got, want)
		}
	}
}

func TestReadTypes(t *testing.T) {
	types := Core().Types
	for name, want := range map[string]string{"a.html": "text/html", "a.b.PNG": "", "noext": "", "dir.d/x.css": "text/css", "a.html/": ""} {
		if got := types.Of(name); got != want {
			t.Errorf("Of(%q) = %q, want %q", name, got, want)
		}
	}
	if _, err := ReadTypes(t.TempDir() + "/none"); err == nil {
		t.Error("ReadTypes of a missing file gives no error")
	}
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{"$1", "${PATH_INFO}", "${qs[a]}$", "$$1${", "a${b[c]d}e$0"} {
		f.Add(seed, "/a?b")
	}
	f.Fuzz(func(t *testing.T, src, value string) {
		s := &Scope{menu: &Menu{Vars: Core().Vars}}
		r := asked("/")
		r.AddVar("V", value)
		r.match = match{value, []int{0, len(value)}}
		got := s.Text(src).Expand(r)
		if !strings.Contains(src, "$") && got != src {
			t.Errorf("Text(%q) = %q, want it unchanged", src, got)
		}
		// Nothing that a value holds is expanded.
		if got := s.Text("<${V}$0>").Expand(r); got != "<"+value+value+">" {
			t.Errorf("a value %q became %q", value, got)
		}
	})
}

func FuzzPathInfo(f *testing.F) {
	for _, seed := range []string{"/a/../b", "/%2e%2e/%", "//..//.", "a/..", "/..a/./#x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := pathInfo(raw)
		if len(got) > len(raw)+1 {
			t.Errorf("pathInfo(%q) = %q, which is longer", raw, got)
		}
		if strings.HasPrefix(raw, "/") && !strings.HasPrefix(got, "/") {
			t.Errorf("pathInfo(%q) = %q, which left the root", raw, got)
		}
		plain := !strings.ContainsAny(raw, "%#")
		if plain && strings.HasPrefix(raw, "/") && (strings.Contains(got, "/../") || strings.HasSuffix(got, "/..")) {
			t.Errorf("pathInfo(%q) = %q, which goes up", raw, got)
		}
		if plain && strings.HasPrefix(raw, "/") && pathInfo(got) != got {
			t.Errorf("pathInfo(%q) = %q, and of that %q", raw, got, pathInfo(got))
		}
	})
}

func FuzzCompile(f *testing.F) {
	f.Add("^/(a|b)+?$", "regexp:${PATH_INFO};^$1", "addheader:X: $1")
	f.Add("(?i)[[:alpha:]-\\x41]{2,3}+", ">:${N};3", "goto:3")
	f.Fuzz(func(t *testing.T, pattern, condition, action string) {
		site, err := Compile([]Rule{
			{Table: "route", Kind: Match, Test: pattern, Action: action, Where: "a:1"},
			{Table: "route", Kind: If, Test: condition, Action: action, Where: "a:2"},
			{Table: "response-route", Kind: Run, Action: action, Where: "a:3"},
			{Table: "route", Kind: Run, Action: "last:", Where: "a:4"},
			{Table: "route", Kind: Label, Test: "x", Where: "a:5"},
		}, Core(), quiet)
		if err != nil {
			return
		}
		begin := time.Now()
		get(site, "/ab%0a?a=b")
		if took := time.Since(begin); took > 30*time.Second {
			t.Errorf("a request took %v", took)
		}
	})
}
