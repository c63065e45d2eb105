package config

import (
	"fmt"
	"strings"
)

// set makes entries of set, set-placeholder and set-ph: they are read in place, before any $() and %().
func (r *reader) set(entries []entry) []entry {
	for i, e := range entries {
		switch e.key {
		case "set", "set-placeholder", "set-ph":
		default:
			continue
		}
		key, value, found := strings.Cut(e.value, "=")
		key = strings.TrimSpace(key)
		if !found || key == "" {
			r.fail(e.place, fmt.Errorf("%s wants NAME=VALUE", e.key))
			key = e.key
		}
		made := e
		made.key, made.value = key, value
		made.placeholder = e.key != "set" || !found
		if _, isOption := r.options[key]; found && made.placeholder && (isOption || known(key).class != unknown) {
			r.fail(e.place, fmt.Errorf("%s cannot take the name of the option %q: call the placeholder something else", e.key, key))
		}
		entries[i] = made
	}
	return entries
}

// environment replaces $(NAME) by the environment variable. One that is not set stays as it is written.
func (r *reader) environment(entries []entry) []entry {
	names := r.scope("$(", r.env)
	for i, e := range entries {
		entries[i].value = names.expand(e, e.value)
		if strings.Contains(entries[i].value, "@(") {
			r.failOnce("@("+e.key, e.place, fmt.Errorf("%s: @(FILE) is not read yet: write the content itself, or pass it as $(NAME)", label(e.key)))
		}
	}
	return entries
}

// placeholders replaces %(name) by the first value that any option or unknown key of that name was given,
// wherever it stands; the command line comes before the file. A name that nobody defines stays as it is
// written.
func (r *reader) placeholders(entries []entry) []entry {
	first := make(map[string]string, len(entries))
	for _, fromCommandLine := range []bool{true, false} {
		for _, e := range entries {
			if _, found := first[e.key]; !found && e.fromCommandLine() == fromCommandLine {
				first[e.key] = e.value
			}
		}
	}
	names := r.scope("%(", func(name string) (string, bool) {
		value, found := first[name]
		return value, found
	})
	for i, e := range entries {
		entries[i].value = names.expand(e, e.value)
	}
	return entries
}

// scope holds the values that one kind of reference can have. Each is expanded once.
type scope struct {
	*reader
	open     string // what a reference begins with; ")" ends it
	raw      func(name string) (string, bool)
	expanded map[string]string
	underway map[string]bool // names that are just being expanded
}

func (r *reader) scope(open string, raw func(name string) (string, bool)) *scope {
	return &scope{reader: r, open: open, raw: raw, expanded: map[string]string{}, underway: map[string]bool{}}
}

// expand replaces every reference in a value, the innermost first. e is the entry that wants to know.
func (s *scope) expand(e entry, value string) string {
	// What begins before settled stays, and what was put in before from is expanded already: only its end
	// may still be the beginning of another reference.
	for settled, from, replaced := 0, 0, 0; replaced < mostReplaced && len(value) < longestValue; {
		end := strings.IndexByte(value[from:], ')')
		if end < 0 {
			return value
		}
		end += from
		start := strings.LastIndex(value[:end], s.open)
		if start < settled {
			settled, from = end+1, end+1
			continue
		}
		replacement, found := s.value(e, value[start+len(s.open):end])
		if !found {
			settled, from = end+1, end+1
			continue
		}
		value = value[:start] + replacement + value[end+1:]
		from = start + len(replacement)
		replaced++
	}
	s.failOnce("too long "+e.place.String(), e.place, fmt.Errorf("%s: what it names makes it too long", label(e.key)))
	return value[:min(len(value), longestValue)]
}

const (
	mostReplaced = 1000    // in one value
	longestValue = 1 << 16 // in bytes; placeholders that double each other get there soon
)

// value gives the expanded value of a name.
func (s *scope) value(e entry, name string) (string, bool) {
	if s.open == "%(" {
		for word := range strings.FieldsSeq(name) {
			s.used[word] = true
		}
	}
	if value, found := s.expanded[name]; found {
		return value, true
	}
	raw, found := s.raw(name)
	switch {
	case !found:
		s.missing(e, name)
		return "", false
	case s.underway[name]:
		s.failOnce("endless "+name, e.place, fmt.Errorf("%s: %s%s) leads back to itself", label(e.key), s.open, name))
		return "", false
	}
	s.underway[name] = true
	value := s.expand(e, raw)
	delete(s.underway, name)
	s.expanded[name] = value
	return value, true
}

// missing tells of a name that nobody defines, where its value has an effect: log-format is full of %(name)
// that stand for something else.
func (s *scope) missing(e entry, name string) {
	_, ours := s.options[e.key]
	switch {
	case s.open == "%(" && strings.ContainsAny(strings.TrimSpace(name), " \t"):
		s.failOnce("arithmetic "+e.place.String(), e.place, fmt.Errorf("%s: arithmetic in %%(...) is not read yet: write the result", label(e.key)))
	case !isName(name) || !ours || e.placeholder:
	case s.open == "$(":
		s.noticeOnce("$("+name, e.place, "the environment variable %s is not set: $(%s) stays as it is written", name, name)
	default:
		s.noticeOnce("%("+name, e.place, "nothing defines %s: %%(%s) stays as it is written", name, name)
	}
}

// unresolved gives the first $(NAME) or %(name) that nothing defined.
func unresolved(value string) (reference string, found bool) {
	for _, open := range []string{"$(", "%("} {
		if _, rest, ok := strings.Cut(value, open); ok {
			if name, _, closed := strings.Cut(rest, ")"); closed && isName(name) {
				return open + name + ")", true
			}
		}
	}
	return "", false
}

// isName tells whether s looks like the name of an option or a variable, so that it may be repeated in a
// message: anything else could be a secret that slipped.
func isName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// label names an option at the head of a message.
func label(key string) string {
	if isName(key) {
		return key
	}
	return "this"
}

func quoteName(s string) string {
	if isName(strings.TrimLeft(s, "-")) {
		return `"` + s + `"`
	}
	return "this"
}
