package router

import (
	"fmt"
	"strings"
)

// dialect writes a pattern for one engine. Bytes above 127 become the private characters U+E080 to U+E0FF:
// these are no letters, have no other case, and keep their order.
type dialect struct {
	re2 bool // package regexp; else regexp2
	out strings.Builder

	backtracks bool // the pattern needs an engine that backtracks
	newline    bool // a line feed at the end of the text matters, in a way that package regexp cannot say
}

// private is the character that stands for a byte.
func private(c byte) rune {
	if c < 0x80 {
		return rune(c)
	}
	return 0xe000 + rune(c)
}

func (d *dialect) write(n *node) {
	switch n.kind {
	case kindSet:
		d.set(&n.set)
	case kindSequence:
		d.out.WriteString("(?:")
		for _, kid := range n.kids {
			d.write(kid)
		}
		d.out.WriteString(")")
	case kindChoice:
		d.out.WriteString("(?:")
		for i, kid := range n.kids {
			if i > 0 {
				d.out.WriteString("|")
			}
			d.write(kid)
		}
		d.out.WriteString(")")
	case kindRepeat:
		d.repeat(n)
	case kindCapture:
		d.around("(", n)
	case kindAtomic:
		d.backtracks = true
		d.around("(?>", n)
	case kindAhead:
		d.backtracks = true
		d.around(pick(n.not, "(?!", "(?="), n)
	case kindBehind:
		d.backtracks = true
		d.around(pick(n.not, "(?<!", "(?<="), n)
	case kindBack:
		d.backtracks = true
		fmt.Fprintf(&d.out, pick(n.fold, `(?:(?i:\%d))`, `(?:\%d)`), n.n)
	default:
		d.edge(n.kind)
	}
}

func (d *dialect) around(open string, n *node) {
	d.out.WriteString(open)
	d.write(n.kids[0])
	d.out.WriteString(")")
}

// edge writes what matches between two bytes. Texts that end in a line feed never reach package regexp when
// that matters, so there it need not know about them.
func (d *dialect) edge(kind nodeKind) {
	d.newline = d.newline || kind == kindDollar || kind == kindLineStart || kind == kindLineEnd
	switch kind {
	case kindStart:
		d.out.WriteString(`\A`)
	case kindEnd:
		d.out.WriteString(`\z`)
	case kindDollar:
		d.out.WriteString(pick(d.re2, `\z`, `\Z`))
	case kindLineStart:
		d.out.WriteString(pick(d.re2, `(?m:^)`, `(?:\A|(?<=\n)(?!\z))`))
	case kindLineEnd:
		d.out.WriteString(pick(d.re2, `(?m:$)`, `(?=\n|\z)`))
	case kindEdge:
		d.out.WriteString(`\b`)
	case kindNoEdge:
		d.out.WriteString(`\B`)
	}
}

func (d *dialect) repeat(n *node) {
	d.around("(?:", n)
	switch {
	case n.min == 0 && n.max == -1:
		d.out.WriteString("*")
	case n.min == 1 && n.max == -1:
		d.out.WriteString("+")
	case n.min == 0 && n.max == 1:
		d.out.WriteString("?")
	case n.max == -1:
		fmt.Fprintf(&d.out, "{%d,}", n.min)
	default:
		fmt.Fprintf(&d.out, "{%d,%d}", n.min, n.max)
	}
	if n.lazy {
		d.out.WriteString("?")
	}
}

func (d *dialect) set(set *byteSet) {
	var ranges [][2]byte
	for c := 0; c < 256; c++ {
		if !set[c] {
			continue
		}
		from := c
		for c < 255 && set[c+1] && c+1 != 0x80 { // the two halves are apart in the engine's alphabet
			c++
		}
		ranges = append(ranges, [2]byte{byte(from), byte(c)})
	}
	switch {
	case len(ranges) == 0:
		d.out.WriteString(pick(d.re2, `[^\x{0}-\x{10ffff}]`, `(?!)`))
	case len(ranges) == 1 && ranges[0][0] == ranges[0][1]:
		d.char(ranges[0][0])
	default:
		d.out.WriteString("[")
		for _, r := range ranges {
			d.char(r[0])
			if r[1] > r[0] {
				d.out.WriteString("-")
				d.char(r[1])
			}
		}
		d.out.WriteString("]")
	}
}

func (d *dialect) char(c byte) {
	switch {
	case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '/', c == '_':
		d.out.WriteByte(c)
	case d.re2:
		fmt.Fprintf(&d.out, `\x{%x}`, private(c))
	default:
		fmt.Fprintf(&d.out, `\u%04x`, private(c))
	}
}
