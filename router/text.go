package router

import "strings"

// Text is text with groups ($0 to $9) and variables (${NAME}, ${name[arg]}) in it, taken apart once.
//
// What a group or a variable gives is never looked at again: a client that puts ${X} into a path gets these
// four bytes. In uWSGI it gets the value of X.
type Text struct {
	segments []segment
}

// segment is a literal, a group, or a variable, whichever is set.
type segment struct {
	literal string
	get     Var
	group   int // 1 is $0
}

// Text takes src apart. No text is wrong: what is neither group nor variable stands for itself.
func (s *Scope) Text(src string) Text {
	var t Text
	var literal strings.Builder
	add := func(seg segment) {
		if literal.Len() > 0 {
			t.segments = append(t.segments, segment{literal: literal.String()})
			literal.Reset()
		}
		t.segments = append(t.segments, seg)
	}
	for i := 0; i < len(src); {
		rest := src[i:]
		switch {
		case rest[0] != '$' || len(rest) == 1:
			literal.WriteByte(rest[0])
			i++
		case rest[1] >= '0' && rest[1] <= '9':
			s.groups = true
			add(segment{group: int(rest[1]-'0') + 1})
			i += 2
		case rest[1] == '{' && strings.IndexByte(rest, '}') > 0:
			end := strings.IndexByte(rest, '}')
			add(segment{get: s.variable(rest[2:end])})
			i += end + 1
		default: // the byte after a dollar is used up, so that $$1 stays $$1
			literal.WriteString(rest[:2])
			i += 2
		}
	}
	if literal.Len() > 0 {
		t.segments = append(t.segments, segment{literal: literal.String()})
	}
	return t
}

// variable is what stands between the braces of ${...}.
func (s *Scope) variable(name string) Var {
	if word, rest, ok := strings.Cut(name, "["); ok && strings.HasSuffix(rest, "]") {
		if builder := s.menu.Vars[word]; builder != nil {
			return builder(strings.TrimSuffix(rest, "]"), s)
		}
	}
	return s.requestVar(name)
}

// requestVar is the request variable of that name; unset is empty.
func (s *Scope) requestVar(name string) Var {
	base := baseVar(name)
	return func(r *Request) string {
		value, _ := r.lookup(name, base)
		return value
	}
}

// Constant gives the text when it has neither groups nor variables.
func (t Text) Constant() (text string, ok bool) {
	switch {
	case len(t.segments) == 0:
		return "", true
	case len(t.segments) == 1 && t.segments[0].get == nil && t.segments[0].group == 0:
		return t.segments[0].literal, true
	}
	return "", false
}

// Expand puts in what the request has. A text that is one variable or one group costs nothing.
func (t Text) Expand(r *Request) string {
	switch len(t.segments) {
	case 0:
		return ""
	case 1:
		return t.segments[0].expand(r)
	}
	buf := r.buf[:0]
	for i := range t.segments {
		buf = append(buf, t.segments[i].expand(r)...)
	}
	r.buf = buf
	return string(buf)
}

func (g *segment) expand(r *Request) string {
	switch {
	case g.get != nil:
		return g.get(r)
	case g.group > 0:
		return r.match.group(g.group - 1)
	}
	return g.literal
}

// match is what a regular expression found: the positions of its groups in the subject, as package regexp
// gives them.
type match struct {
	subject string
	at      []int
}

func (m match) group(n int) string {
	if 2*n+1 >= len(m.at) || m.at[2*n] < 0 {
		return ""
	}
	return m.subject[m.at[2*n]:m.at[2*n+1]]
}
