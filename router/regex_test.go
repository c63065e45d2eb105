package router

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dlclark/regexp2"
)

// groupsOf matches with the engine that compileRegex chose, and with the backtracking one: they must agree.
func groupsOf(t *testing.T, source, text string) []string {
	t.Helper()
	x, err := compileRegex(source)
	if err != nil {
		t.Fatalf("compileRegex(%q): %v", source, err)
	}
	at, err := x.find(text)
	if err != nil {
		t.Fatalf("find(%q, %q): %v", source, text, err)
	}
	is, err := x.match(text)
	if err != nil || is != (at != nil) {
		t.Errorf("match(%q, %q) = %v, %v, but find gives %v", source, text, is, err, at)
	}
	if other := backtracking(t, source); x.linear != nil {
		again, err := other.find(text)
		if err != nil || !slices.Equal(at, again) {
			t.Errorf("%q on %q: the engines say %v and %v (%v)", source, text, at, again, err)
		}
	}
	if at == nil {
		return nil
	}
	var groups []string
	for n := range len(at) / 2 {
		groups = append(groups, match{text, at}.group(n))
	}
	return groups
}

// backtracking compiles a pattern for the engine that can do everything.
func backtracking(t testing.TB, source string) *regex {
	t.Helper()
	p, err := parsePattern(source)
	if err != nil {
		t.Fatal(err)
	}
	var d dialect
	d.write(p.root)
	greedy, err := regexp2.Compile(d.out.String(), regexp2.None)
	if err != nil {
		t.Fatalf("%q is %q: %v", source, d.out.String(), err)
	}
	greedy.MatchTimeout = regexTimeout
	return &regex{source: source, greedy: greedy}
}

func TestRegex(t *testing.T) {
	no := []string(nil)
	for _, tt := range []struct {
		pattern, text string
		want          []string
	}{
		{"mid", "/a/mid/b", []string{"mid"}},
		{"^/abc", "/ABC", no},
		{"(?i)^/abc", "/ABC", []string{"/ABC"}},
		{"a(?i)b|c", "aB", []string{"aB"}},
		{"a(?i)b|c", "C", []string{"C"}},
		{"(?i:a)b", "AB", no},
		{"(?i)é", "É", no}, // bytes have no case, characters do not exist
		{"^.$", "é", no},
		{"^..$", "é", []string{"é"}},
		{"^(.)(.)$", "é", []string{"é", "\xc3", "\xa9"}},
		{`[\x80-\xff]+`, "aéb", []string{"é"}},
		{`^[^\x00-\x7f]+$`, "éü", []string{"éü"}},
		{`x(\W+)y`, "xéy", []string{"xéy", "é"}},
		{`(b)\b`, "éb é", []string{"b", "b"}},

		{"^/private$", "/private", []string{"/private"}},
		{"^/private$", "/private\n", []string{"/private"}},
		{"^/private$", "/private\n\n", no},
		{`^/private\z`, "/private\n", no},
		{`^/private\Z`, "/private\n", []string{"/private"}},
		{"^/(.*)$", "/x\n", []string{"/x", "x"}},
		{"(a$)", "a\n", []string{"a", "a"}},
		{`a$\n`, "a\n", []string{"a\n"}},
		{"a.b", "a\nb", no},
		{"(?s)a.b", "a\nb", []string{"a\nb"}},
		{"a(?s:.)b", "a\nb", []string{"a\nb"}},
		{"(?m)^b$", "a\nb\nc", []string{"b"}},
		{"(?m)^", "a\n", []string{""}},
		{"b(?m)^$", "b\n", no},
		{`(?x) a \ b # comment` + "\nc", "a bc", []string{"a bc"}},

		{"^/(?!admin)", "/admin", no},
		{"^/(?!admin)", "/user", []string{"/"}},
		{`^/(.)\1`, "/aab", []string{"/aa", "a"}},
		{`^/(.)\1`, "/abb", no},
		{`(?i)(a)\1`, "xAa", []string{"Aa", "A"}},
		{"(?<=b)a", "aba", []string{"a"}},
		{"(?<!b)a$", "aba", no},
		{"(?>a+)ab", "aaab", no},
		{"a++b", "aaab", []string{"aaab"}},
		{"a*+a", "aaa", no},
		{"(?<y>a)(b)(?P<z>c)", "abc", []string{"abc", "a", "b", "c"}},
		{`(?<y>a)\k<y>(?P=y)\g{y}\g1\g{-1}\k{y}\k'y'`, "aaaaaaaa", []string{"aaaaaaaa", "a"}},
		{"(a)|(b)", "b", []string{"b", "", "b"}},
		{"(?:(a)|b)*", "ab", []string{"ab", "a"}},

		{`\d+\D`, "a12b", []string{"12b"}},
		{`\w+`, "-a_9-", []string{"a_9"}},
		{`[\s]\S`, "a\vb", []string{"\vb"}},
		{`\h\H\v\V`, "\ta\n ", []string{"\ta\n "}},
		{`a\Rb`, "a\r\nb", []string{"a\r\nb"}},
		{`\N+`, "ab\nc", []string{"ab"}},
		{`\x41\x{42}\103\o{104}\e?\cA?`, "ABCD", []string{"ABCD"}},
		{`\Qa.b\E+`, "a.bb", []string{"a.bb"}},
		{`\/\-\.\_`, "/-._", []string{"/-._"}},
		{`(?:a{2}){2}`, "aaaaa", []string{"aaaa"}},
		{`a{,2}b{`, "a{,2}b{", []string{"a{,2}b{"}},
		{`a{2,}?`, "aaaa", []string{"aa"}},
		{`(?#note)a`, "a", []string{"a"}},
		{`()`, "", []string{"", ""}},
		{"a||b", "b", []string{""}},
		{strings.Repeat("a?", 30) + "b{1200}", strings.Repeat("b", 1200), []string{strings.Repeat("b", 1200)}},

		{"[]a]+", "a]", []string{"a]"}},
		{"[^]a]", "a]b", []string{"b"}},
		{"[a-]+", "-a", []string{"-a"}},
		{`[\]\-\\[]+`, `]-\[`, []string{`]-\[`}},
		{"[a-c[:digit:]x-]+", "_b7x-", []string{"b7x-"}},
		{"[[:^alpha:]]", "a1", []string{"1"}},
		{"(?i)[^a]", "Aab", []string{"b"}},
		{`[\d-z]+`, "5-z", []string{"5-z"}},
		{`[\b]`, "\b", []string{"\b"}},
		{`[^\x00-\xff]`, "abc", no},
		{`[\Q]-\E]+`, "]-", []string{"]-"}},
		{`^.*curl/([0-9]+).*`, "x curl/8.1", []string{"x curl/8.1", "8"}},
	} {
		if got := groupsOf(t, tt.pattern, tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("%q on %q = %q, want %q", tt.pattern, tt.text, got, tt.want)
		}
	}
}

func TestRegexMistakes(t *testing.T) {
	for pattern, want := range map[string]string{
		"(a":                       "a ( is not closed",
		"a)":                       ") without (",
		"*a":                       "nothing to repeat",
		"a**":                      "nothing to repeat",
		"a{2}{3}":                  "nothing to repeat",
		"[[.a.]]":                  "[. and [= are not known",
		"[a":                       "a [ is not closed",
		"[b-a]":                    "wrong way round",
		"a{3,1}":                   "wrong way round",
		"a{70000}":                 "too large",
		`\`:                        "ends the expression",
		`\y`:                       `\y is not known here`,
		`\1`:                       "does not exist",
		`(?P=x)`:                   "does not exist",
		`\pL`:                      `\p is not known here`,
		`\x{100}`:                  "is not a byte",
		"(?R)":                     "(?R is not known here",
		"(*UTF8)a":                 "verbs",
		"[[:nope:]]":               "there is no class [:nope:]",
		"(?<1a>x)":                 "cannot name a group",
		"(?<a>x)(?<a>y)":           "two groups are named a",
		strings.Repeat("(", 300):   "nested too deeply",
		`[\R]`:                     "not known inside",
		`(?i`:                      "not closed",
		`\g`:                       "needs a group",
		"[[:alpha:]-z](?#":         "is missing",
		"a\\c":                     "needs a letter",
		"(?'n>a)" + "[a-\\d](?<n>": "is missing",
	} {
		_, err := compileRegex(pattern)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("compileRegex(%q) = %v, want ...%s", pattern, err, want)
		}
	}
}

// A client that knows a bad pattern can make one request slow, but not for long.
func TestRegexTimeout(t *testing.T) {
	x, err := compileRegex(`(?=a)^(a+)+$`)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err = x.match(strings.Repeat("a", 60) + "!"); err != errRegexTimeout {
		t.Errorf("match = %v, want %v", err, errRegexTimeout)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("match took %v", took)
	}
}

// Patterns without lookaround run on package regexp, whatever their anchors are.
func TestLinearWhenPossible(t *testing.T) {
	for pattern, want := range map[string]bool{`^/(.*)$`: true, `(?i)^/a\sb$`: true, `(?m)^a`: true, `\Aa\Z`: true, `(?=a)`: false, `(a)\1`: false, `a++`: false} {
		x, err := compileRegex(pattern)
		if err != nil || (x.linear != nil) != want {
			t.Errorf("%q is linear: %v (%v), want %v", pattern, x.linear != nil, err, want)
		}
	}
}

// The two engines agree, and neither of them knows a pattern that the other refuses.
func FuzzRegex(f *testing.F) {
	f.Add(`^/(.*)$`, "/a\n")
	f.Add(`(?i)[^a-c\d]\b(x|y)*?$`, "Aéxy")
	f.Add(`(a|ab)(c|bcd)(d*)`, "abcd")
	f.Fuzz(func(t *testing.T, source, text string) {
		if len(source) > 60 || len(text) > 60 {
			return
		}
		x, err := compileRegex(source)
		if err != nil {
			return
		}
		is, err := x.match(text)
		if err != nil || x.linear == nil {
			return
		}
		again, err := backtracking(t, source).match(text)
		if err == nil && is != again {
			t.Errorf("%q on %q: the engines say %v and %v", source, text, is, again)
		}
	})
}

func ExampleRequest_Var() {
	r := asked("/a%20b?x=1")
	path, _ := r.Var("PATH_INFO")
	_, ok := r.Var("HTTP_COOKIE")
	fmt.Println(path, ok)
	// Output: /a b false
}
