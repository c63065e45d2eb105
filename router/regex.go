package router

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// A pattern that looks around or back may search this long, this often; only such patterns can need it.
//
// The time is that on the wall, by a clock that a goroutine of regexp2 moves on. On a busy machine a search
// of microseconds seems to take too long when it, or that goroutine, has to wait for a processor. Then it
// succeeds when tried again; a bad pattern does not.
const (
	regexTimeout  = 250 * time.Millisecond
	regexAttempts = 4
)

var errRegexTimeout = errors.New("the regular expression searched for too long")

// regex is a pattern with PCRE's meaning. It runs on package regexp, whose time grows with the text and no
// faster, unless the pattern looks around or back, or the text ends in a line feed and the pattern asks
// whether it does.
type regex struct {
	source  string
	linear  *regexp.Regexp  // nil when the pattern is more than it can do
	greedy  *regexp2.Regexp // nil when it is never needed
	newline bool            // a line feed at the end is for the backtracking engine
}

func compileRegex(source string) (*regex, error) {
	p, err := parsePattern(source)
	if err != nil {
		return nil, err
	}
	simple, full := dialect{re2: true}, dialect{}
	simple.write(p.root)
	full.write(p.root)
	x := &regex{source: source, newline: full.newline}
	if !full.backtracks {
		x.linear, _ = regexp.Compile(simple.out.String()) // fails for counts beyond 1000
	}
	if x.linear == nil || x.newline {
		x.greedy, err = regexp2.Compile(full.out.String(), regexp2.None)
		if err != nil {
			return nil, fmt.Errorf("not understood: %w", err)
		}
		x.greedy.MatchTimeout = regexTimeout
	}
	return x, nil
}

// matched matches text, and remembers the groups for the rule that is running.
func (r *Request) matched(x *regex, text string, groups bool) (bool, error) {
	if !groups {
		return x.match(text)
	}
	at, err := x.find(text)
	r.match = match{text, at}
	return at != nil, err
}

func (x *regex) backtracks(text string) bool {
	return x.linear == nil || x.newline && strings.HasSuffix(text, "\n")
}

func (x *regex) match(text string) (bool, error) {
	if x.backtracks(text) {
		return patiently(func() (bool, error) { return x.greedy.MatchRunes(privateRunes(text)) })
	}
	return x.linear.MatchString(privateText(text)), nil
}

// patiently searches until it is clear that the pattern, not the machine, is slow.
func patiently[T any](search func() (T, error)) (found T, err error) {
	for range regexAttempts {
		if found, err = search(); err == nil {
			return found, nil
		}
	}
	return found, errRegexTimeout
}

// find gives the positions of the match and its groups, as package regexp does, or nil.
func (x *regex) find(text string) ([]int, error) {
	if x.backtracks(text) {
		m, err := patiently(func() (*regexp2.Match, error) { return x.greedy.FindRunesMatch(privateRunes(text)) })
		if m == nil || err != nil {
			return nil, err
		}
		var at []int
		for _, g := range m.Groups() {
			if len(g.Captures) == 0 {
				at = append(at, -1, -1)
				continue
			}
			at = append(at, g.Index, g.Index+g.Length)
		}
		return at, nil
	}
	mapped := privateText(text)
	at := x.linear.FindStringSubmatchIndex(mapped)
	if len(mapped) != len(text) {
		for i, n := range at {
			if n > 0 {
				at[i] = utf8.RuneCountInString(mapped[:n]) // a character for each byte
			}
		}
	}
	return at, nil
}

// privateText writes bytes as the characters that stand for them. ASCII stays as it is.
func privateText(text string) string {
	i := 0
	for i < len(text) && text[i] < 0x80 {
		i++
	}
	if i == len(text) {
		return text
	}
	var out strings.Builder
	out.Grow(len(text) * 3)
	for _, c := range []byte(text) {
		out.WriteRune(private(c))
	}
	return out.String()
}

func privateRunes(text string) []rune {
	runes := make([]rune, len(text))
	for i, c := range []byte(text) {
		runes[i] = private(c)
	}
	return runes
}
