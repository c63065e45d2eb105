package router

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// class reads [...].
func (p *patternParser) class(fold bool) (*node, error) {
	p.pos++
	var set byteSet
	not := p.accept("^")
	for first := true; ; first = false {
		switch {
		case p.pos >= len(p.src):
			return nil, errors.New("a [ is not closed")
		case p.quoted && p.accept(`\E`):
			p.quoted = false
			continue
		case !p.quoted && p.accept(`\Q`):
			p.quoted = true
			continue
		case !p.quoted && p.accept(`\E`):
			continue
		case !p.quoted && !first && p.accept("]"):
			if fold {
				set = set.folded()
			}
			if not {
				set = set.inverted()
			}
			return &node{kind: kindSet, set: set}, nil
		}
		more, from, single, err := p.member()
		if err != nil {
			return nil, err
		}
		if !single || !p.rangeFollows() {
			set = set.and(more)
			continue
		}
		p.pos++
		_, to, single, err := p.member()
		switch {
		case err != nil:
			return nil, err
		case !single:
			return nil, errors.New("a range ends in a set")
		case to < from:
			return nil, fmt.Errorf("the range %q-%q is the wrong way round", from, to)
		}
		set = set.with(from, to)
	}
}

// rangeFollows: a hyphen that is not the last in its class.
func (p *patternParser) rangeFollows() bool {
	rest := p.src[p.pos:]
	return !p.quoted && len(rest) > 1 && rest[0] == '-' && rest[1] != ']'
}

// member reads one member of a class: a set, or a single byte, which may begin a range.
func (p *patternParser) member() (set byteSet, c byte, single bool, err error) {
	one := func(c byte) (byteSet, byte, bool, error) { return byteSet{}.with(c, c), c, true, nil }
	rest := p.src[p.pos:]
	switch {
	case rest == "":
		return set, 0, false, errors.New("a [ is not closed")
	case p.quoted || rest[0] != '\\' && rest[0] != '[':
		p.pos++
		return one(rest[0])
	case strings.HasPrefix(rest, "[.") || strings.HasPrefix(rest, "[="):
		return set, 0, false, errors.New("[. and [= are not known here")
	case rest[0] == '[':
		name, ok := posixName(rest)
		if !ok {
			p.pos++
			return one('[')
		}
		p.pos += len(name) + 4
		set, ok = posixSet(strings.TrimPrefix(name, "^"))
		if !ok {
			return set, 0, false, fmt.Errorf("there is no class [:%s:]", name)
		}
		if strings.HasPrefix(name, "^") {
			set = set.inverted()
		}
		return set, 0, false, nil
	case len(rest) == 1:
		return set, 0, false, errors.New(`a \ ends the expression`)
	}
	if set, ok := classEscape(rest[1]); ok {
		p.pos += 2
		return set, 0, false, nil
	}
	if rest[1] == 'b' {
		p.pos += 2
		return one('\b')
	}
	p.pos++
	c, ok, err := p.byteEscape()
	if err == nil && !ok {
		err = fmt.Errorf(`\%c is not known inside [ ]`, rest[1])
	}
	if err != nil {
		return set, 0, false, err
	}
	return one(c)
}

// posixName finds name in [:name:].
func posixName(text string) (string, bool) {
	if !strings.HasPrefix(text, "[:") {
		return "", false
	}
	name, _, ok := strings.Cut(text[2:], ":]")
	return name, ok && !strings.ContainsAny(name, `]\[`)
}

// escape reads a backslash outside of classes.
func (p *patternParser) escape(fold bool) (*node, error) {
	p.pos++
	if p.pos == len(p.src) {
		return nil, errors.New(`a \ ends the expression`)
	}
	c := p.src[p.pos]
	if set, ok := classEscape(c); ok {
		p.pos++
		return &node{kind: kindSet, set: set}, nil
	}
	kinds := map[byte]nodeKind{'A': kindStart, 'G': kindStart, 'Z': kindDollar, 'z': kindEnd, 'b': kindEdge, 'B': kindNoEdge}
	if kind, ok := kinds[c]; ok {
		p.pos++
		return &node{kind: kind}, nil
	}
	switch c {
	case 'Q':
		p.pos++
		p.quoted = true
		return nil, nil
	case 'E':
		p.pos++
		return nil, nil
	case 'N':
		p.pos++
		return &node{kind: kindSet, set: everyByte().without('\n')}, nil
	case 'C':
		p.pos++
		return &node{kind: kindSet, set: everyByte()}, nil
	case 'R':
		p.pos++
		return anyNewline(), nil
	case 'g', 'k':
		p.pos++
		return p.reference(c, fold)
	}
	if c >= '1' && c <= '9' {
		digits := p.src[p.pos : p.pos+len(p.src[p.pos:])-len(strings.TrimLeft(p.src[p.pos:], "0123456789"))]
		if n, err := strconv.Atoi(digits); err == nil && (n < 10 || n <= p.groups) {
			p.pos += len(digits)
			return p.numbered(n, fold), nil
		}
	}
	b, ok, err := p.byteEscape()
	if err == nil && !ok {
		err = fmt.Errorf(`\%c is not known here`, c)
	}
	if err != nil {
		return nil, err
	}
	return byteNode(b, fold), nil
}

// anyNewline is \R.
func anyNewline() *node {
	crlf := &node{kind: kindSequence, kids: []*node{byteNode('\r', false), byteNode('\n', false)}}
	single := &node{kind: kindSet, set: byteSet{}.with('\n', '\r').with(0x85, 0x85)}
	return &node{kind: kindAtomic, kids: []*node{{kind: kindChoice, kids: []*node{crlf, single}}}}
}

func (p *patternParser) numbered(n int, fold bool) *node {
	back := p.back("", fold)
	back.n = n
	return back
}

// reference reads \g1 \g{1} \g{-1} \g{name} \k<name> \k'name' \k{name}.
func (p *patternParser) reference(letter byte, fold bool) (*node, error) {
	ends := map[byte]byte{'{': '}', '<': '>', '\'': '\''}
	if p.pos == len(p.src) {
		return nil, fmt.Errorf(`\%c needs a group`, letter)
	}
	end, ok := ends[p.src[p.pos]]
	switch {
	case letter == 'g' && !ok && p.src[p.pos] >= '1' && p.src[p.pos] <= '9':
		p.pos++
		return p.numbered(int(p.src[p.pos-1]-'0'), fold), nil
	case !ok, letter == 'g' && end != '}':
		return nil, fmt.Errorf(`\%c needs a group`, letter)
	}
	p.pos++
	name, err := p.until(end)
	if err != nil {
		return nil, err
	}
	if n, err := strconv.Atoi(name); err == nil && letter == 'g' {
		if n < 0 {
			n += p.groups + 1
		}
		return p.numbered(n, fold), nil
	}
	if name == "" {
		return nil, fmt.Errorf(`\%c needs a group`, letter)
	}
	return p.back(name, fold), nil
}

// byteEscape reads, behind the backslash, an escape that stands for one byte.
func (p *patternParser) byteEscape() (c byte, ok bool, err error) {
	c = p.src[p.pos]
	p.pos++
	switch c {
	case 'a':
		return '\a', true, nil
	case 'e':
		return 0x1b, true, nil
	case 'f':
		return '\f', true, nil
	case 'n':
		return '\n', true, nil
	case 'r':
		return '\r', true, nil
	case 't':
		return '\t', true, nil
	case 'c':
		if p.pos == len(p.src) {
			return 0, false, errors.New(`\c needs a letter`)
		}
		c = p.src[p.pos]
		p.pos++
		if c >= 'a' && c <= 'z' {
			c -= 0x20
		}
		return c ^ 0x40, true, nil
	case 'x':
		return p.number(16, 2)
	case 'o':
		if p.pos == len(p.src) || p.src[p.pos] != '{' {
			return 0, false, errors.New(`\o needs a number in braces`)
		}
		return p.number(8, 0)
	}
	switch {
	case c >= '0' && c <= '7':
		p.pos--
		return p.number(8, 3)
	case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		return 0, false, nil
	}
	return c, true, nil
}

// number reads up to most digits, or {digits}.
func (p *patternParser) number(base, most int) (byte, bool, error) {
	var digits string
	if p.accept("{") {
		var err error
		if digits, err = p.until('}'); err != nil {
			return 0, false, err
		}
	} else {
		for len(digits) < most && p.pos < len(p.src) && isDigit(p.src[p.pos], base) {
			digits += p.src[p.pos : p.pos+1]
			p.pos++
		}
		if digits == "" { // \x alone is a zero byte
			return 0, true, nil
		}
	}
	n, err := strconv.ParseUint(digits, base, 8)
	if err != nil {
		return 0, false, fmt.Errorf("%q is not a byte", digits)
	}
	return byte(n), true, nil
}

func isDigit(c byte, base int) bool {
	return isHex(c) && int(unHex(c)) < base
}
