package router

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A pattern is a PCRE expression, read into a tree. Both engines get their text from that tree, so that they
// agree with PCRE and with each other where their own dialects differ: what $ means, what . and \w match,
// which letters are the same without case. Everything is about bytes, as in uWSGI, never about characters.
type pattern struct {
	root   *node
	groups int
}

// node is a part of a pattern.
type node struct {
	kind nodeKind
	set  byteSet // of kindSet
	kids []*node
	min  int // of kindRepeat
	max  int // of kindRepeat; -1 is no limit
	lazy bool
	not  bool // of kindAhead and kindBehind
	fold bool // of kindBack: without case
	n    int  // of kindBack: the group
}

type nodeKind int

const (
	kindSet       nodeKind = iota // one byte of a set
	kindSequence                  // kids one after the other
	kindChoice                    // one of kids, the first that fits
	kindRepeat                    // kids[0], min to max times
	kindCapture                   // kids[0], remembered
	kindAtomic                    // kids[0], never tried again
	kindAhead                     // kids[0] follows, or does not
	kindBehind                    // kids[0] comes before, or does not
	kindBack                      // what group n found
	kindStart                     // start of the text
	kindEnd                       // end of the text
	kindDollar                    // end of the text, or before a line feed that ends it
	kindLineStart                 // start of a line
	kindLineEnd                   // end of a line
	kindEdge                      // edge of a word
	kindNoEdge                    // inside or outside of a word
)

// deepest is how far groups may stand in each other, as in PCRE2.
const deepest = 250

// patternParser reads a PCRE pattern.
type patternParser struct {
	src    string
	pos    int
	depth  int
	groups int
	names  map[string]int
	backs  []backReference
	quoted bool // between \Q and \E
}

type backReference struct {
	at   *node
	name string // "" when at.n says it
}

// patternFlags are (?imsx).
type patternFlags struct{ fold, lines, dotall, extended bool }

func parsePattern(src string) (*pattern, error) {
	p := &patternParser{src: src, names: map[string]int{}}
	root, err := p.choice(patternFlags{})
	if err != nil {
		return nil, fmt.Errorf("at byte %d: %w", p.pos, err)
	}
	if p.pos < len(src) {
		return nil, fmt.Errorf("at byte %d: ) without (", p.pos)
	}
	for _, b := range p.backs {
		if b.name != "" {
			b.at.n = p.names[b.name]
		}
		if b.at.n < 1 || b.at.n > p.groups {
			return nil, errors.New("a back reference names a group that does not exist")
		}
	}
	return &pattern{root: root, groups: p.groups}, nil
}

// choice reads alternatives up to the end of the group. Flags set inside last until there.
func (p *patternParser) choice(flags patternFlags) (*node, error) {
	if p.depth++; p.depth > deepest {
		return nil, errors.New("groups are nested too deeply")
	}
	defer func() { p.depth-- }()
	all := &node{kind: kindChoice}
	for {
		seq, err := p.sequence(&flags)
		if err != nil {
			return nil, err
		}
		all.kids = append(all.kids, seq)
		if !p.accept("|") {
			break
		}
	}
	if len(all.kids) == 1 {
		return all.kids[0], nil
	}
	return all, nil
}

func (p *patternParser) sequence(flags *patternFlags) (*node, error) {
	seq := &node{kind: kindSequence}
	for p.pos < len(p.src) {
		if !p.quoted && (p.src[p.pos] == '|' || p.src[p.pos] == ')') {
			break
		}
		item, err := p.atom(flags)
		if err != nil {
			return nil, err
		}
		if item == nil { // a comment, blanks under (?x), or flags
			continue
		}
		if item, err = p.repeat(item, *flags); err != nil {
			return nil, err
		}
		seq.kids = append(seq.kids, item)
	}
	return seq, nil
}

// atom reads one thing that may be repeated.
func (p *patternParser) atom(flags *patternFlags) (*node, error) {
	if p.quoted {
		if p.accept(`\E`) {
			p.quoted = false
			return nil, nil
		}
		last := p.literal(flags.fold)
		p.quoted = !p.accept(`\E`) // a quantifier behind it is for this byte
		return last, nil
	}
	c := p.src[p.pos]
	switch {
	case flags.extended && strings.IndexByte(" \t\n\v\f\r", c) >= 0:
		p.pos++
		return nil, nil
	case flags.extended && c == '#':
		p.skipPast('\n')
		return nil, nil
	}
	switch c {
	case '(':
		return p.group(flags)
	case '[':
		return p.class(flags.fold)
	case '\\':
		return p.escape(flags.fold)
	case '.':
		p.pos++
		if flags.dotall {
			return &node{kind: kindSet, set: everyByte()}, nil
		}
		return &node{kind: kindSet, set: everyByte().without('\n')}, nil
	case '^':
		p.pos++
		return &node{kind: pick(flags.lines, kindLineStart, kindStart)}, nil
	case '$':
		p.pos++
		return &node{kind: pick(flags.lines, kindLineEnd, kindDollar)}, nil
	case '*', '+', '?':
		return nil, fmt.Errorf("%c has nothing to repeat", c)
	case '{':
		if ok, err := p.counts(&node{}); ok || err != nil {
			return nil, errors.New("{ has nothing to repeat")
		}
	}
	return p.literal(flags.fold), nil
}

func pick[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

// literal is the next byte, whatever it is.
func (p *patternParser) literal(fold bool) *node {
	c := p.src[p.pos]
	p.pos++
	return byteNode(c, fold)
}

func byteNode(c byte, fold bool) *node {
	set := byteSet{}.with(c, c)
	if fold {
		set = set.folded()
	}
	return &node{kind: kindSet, set: set}
}

func (p *patternParser) accept(text string) bool {
	if strings.HasPrefix(p.src[p.pos:], text) {
		p.pos += len(text)
		return true
	}
	return false
}

func (p *patternParser) skipPast(c byte) {
	if i := strings.IndexByte(p.src[p.pos:], c); i >= 0 {
		p.pos += i + 1
	} else {
		p.pos = len(p.src)
	}
}

// until reads up to end, which is used up.
func (p *patternParser) until(end byte) (string, error) {
	text, _, ok := strings.Cut(p.src[p.pos:], string(end))
	if !ok {
		return "", fmt.Errorf("%q is missing", end)
	}
	p.pos += len(text) + 1
	return text, nil
}

// repeat reads the quantifier behind item, if there is one.
func (p *patternParser) repeat(item *node, flags patternFlags) (*node, error) {
	for flags.extended && !p.quoted && p.pos < len(p.src) && strings.IndexByte(" \t\n\v\f\r", p.src[p.pos]) >= 0 {
		p.pos++
	}
	if p.quoted || p.pos == len(p.src) {
		return item, nil
	}
	r := &node{kind: kindRepeat, kids: []*node{item}, max: -1}
	switch p.src[p.pos] {
	case '*':
		p.pos++
	case '+':
		p.pos++
		r.min = 1
	case '?':
		p.pos++
		r.max = 1
	case '{':
		counted, err := p.counts(r)
		if !counted || err != nil {
			return item, err
		}
	default:
		return item, nil
	}
	switch {
	case p.accept("?"):
		r.lazy = true
	case p.accept("+"):
		return &node{kind: kindAtomic, kids: []*node{r}}, nil
	}
	return r, nil
}

// counts reads {n}, {n,} or {n,m}; a brace that begins anything else is a literal.
func (p *patternParser) counts(r *node) (bool, error) {
	inner, _, ok := strings.Cut(p.src[p.pos+1:], "}")
	if !ok {
		return false, nil
	}
	least, most, isRange := strings.Cut(inner, ",")
	if !isDigits(least) || most != "" && !isDigits(most) {
		return false, nil
	}
	var err error
	if r.min, err = strconv.Atoi(least); err != nil || r.min > 65535 {
		return false, errors.New("a count is too large")
	}
	switch {
	case !isRange:
		r.max = r.min
	case most != "":
		if r.max, err = strconv.Atoi(most); err != nil || r.max > 65535 {
			return false, errors.New("a count is too large")
		}
		if r.max < r.min {
			return false, fmt.Errorf("the counts of {%s} are the wrong way round", inner)
		}
	}
	p.pos += len(inner) + 2
	return true, nil
}

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// group reads what begins with a parenthesis.
func (p *patternParser) group(flags *patternFlags) (*node, error) {
	switch {
	case p.accept("(?#"):
		_, err := p.until(')')
		return nil, err
	case p.accept("(?:"):
		return p.inside(&node{kind: kindSequence}, *flags)
	case p.accept("(?>"):
		return p.inside(&node{kind: kindAtomic}, *flags)
	case p.accept("(?="):
		return p.inside(&node{kind: kindAhead}, *flags)
	case p.accept("(?!"):
		return p.inside(&node{kind: kindAhead, not: true}, *flags)
	case p.accept("(?<="):
		return p.inside(&node{kind: kindBehind}, *flags)
	case p.accept("(?<!"):
		return p.inside(&node{kind: kindBehind, not: true}, *flags)
	case p.accept("(?P<"), p.accept("(?<"):
		return p.named('>', *flags)
	case p.accept("(?'"):
		return p.named('\'', *flags)
	case p.accept("(?P="):
		name, err := p.until(')')
		return p.back(name, flags.fold), err
	case p.accept("(?"):
		return p.flags(flags)
	case p.accept("(*"):
		return nil, errors.New("verbs such as (*UTF8) are not known here")
	}
	p.accept("(")
	p.groups++
	return p.inside(&node{kind: kindCapture}, *flags)
}

// inside reads up to the closing parenthesis.
func (p *patternParser) inside(group *node, flags patternFlags) (*node, error) {
	kid, err := p.choice(flags)
	if err != nil {
		return nil, err
	}
	if !p.accept(")") {
		return nil, errors.New("a ( is not closed")
	}
	group.kids = []*node{kid}
	return group, nil
}

func (p *patternParser) named(end byte, flags patternFlags) (*node, error) {
	name, err := p.until(end)
	if err != nil {
		return nil, err
	}
	if !isGroupName(name) {
		return nil, fmt.Errorf("%q cannot name a group", name)
	}
	if p.names[name] != 0 {
		return nil, fmt.Errorf("two groups are named %s", name)
	}
	p.groups++
	p.names[name] = p.groups
	return p.inside(&node{kind: kindCapture}, flags)
}

func isGroupName(name string) bool {
	for i, c := range []byte(name) {
		if !wordBytes().has(c) || i == 0 && c >= '0' && c <= '9' {
			return false
		}
	}
	return name != ""
}

// flags reads (?i-s) and (?i-s:...).
func (p *patternParser) flags(flags *patternFlags) (*node, error) {
	set, changed := true, *flags
	for p.pos < len(p.src) {
		c := p.src[p.pos]
		p.pos++
		switch c {
		case '-':
			set = false
		case 'i':
			changed.fold = set
		case 'm':
			changed.lines = set
		case 's':
			changed.dotall = set
		case 'x':
			changed.extended = set
		case ')':
			*flags = changed
			return nil, nil
		case ':':
			return p.inside(&node{kind: kindSequence}, changed)
		default:
			return nil, fmt.Errorf("(?%c is not known here", c)
		}
	}
	return nil, errors.New("a ( is not closed")
}

// back refers to a group by its name.
func (p *patternParser) back(name string, fold bool) *node {
	n := &node{kind: kindBack, fold: fold}
	p.backs = append(p.backs, backReference{n, name})
	return n
}
