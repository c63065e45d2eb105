package router

// byteSet is a set of bytes.
type byteSet [256]bool

func (s byteSet) with(from, to byte) byteSet {
	for c := int(from); c <= int(to); c++ {
		s[c] = true
	}
	return s
}

func (s byteSet) without(c byte) byteSet {
	s[c] = false
	return s
}

func (s byteSet) and(more byteSet) byteSet {
	for c := range s {
		s[c] = s[c] || more[c]
	}
	return s
}

func (s byteSet) inverted() byteSet {
	for c := range s {
		s[c] = !s[c]
	}
	return s
}

// folded has both cases of each letter; only ASCII letters have two.
func (s byteSet) folded() byteSet {
	for c := 'a'; c <= 'z'; c++ {
		either := s[c] || s[c-0x20]
		s[c], s[c-0x20] = either, either
	}
	return s
}

func (s byteSet) has(c byte) bool { return s[c] }

func everyByte() byteSet  { return byteSet{}.with(0, 255) }
func digitBytes() byteSet { return byteSet{}.with('0', '9') }
func spaceBytes() byteSet { return byteSet{}.with('\t', '\r').with(' ', ' ') }
func wordBytes() byteSet {
	return digitBytes().with('a', 'z').with('A', 'Z').with('_', '_')
}

// classEscape reads the escapes that stand for a set; upper case is the rest.
func classEscape(c byte) (set byteSet, ok bool) {
	switch c {
	case 'd', 'D':
		set = digitBytes()
	case 'w', 'W':
		set = wordBytes()
	case 's', 'S':
		set = spaceBytes()
	case 'h', 'H':
		set = byteSet{}.with(' ', ' ').with('\t', '\t').with(0xa0, 0xa0)
	case 'v', 'V':
		set = byteSet{}.with('\n', '\r').with(0x85, 0x85)
	default:
		return set, false
	}
	if c < 'a' {
		set = set.inverted()
	}
	return set, true
}

// posixSet is what [:name:] stands for inside a class.
func posixSet(name string) (byteSet, bool) {
	lower, upper := byteSet{}.with('a', 'z'), byteSet{}.with('A', 'Z')
	graph := byteSet{}.with('!', '~')
	switch name {
	case "alpha":
		return lower.and(upper), true
	case "lower":
		return lower, true
	case "upper":
		return upper, true
	case "digit":
		return digitBytes(), true
	case "alnum":
		return lower.and(upper).and(digitBytes()), true
	case "word":
		return wordBytes(), true
	case "space":
		return spaceBytes(), true
	case "blank":
		return byteSet{}.with(' ', ' ').with('\t', '\t'), true
	case "xdigit":
		return digitBytes().with('a', 'f').with('A', 'F'), true
	case "cntrl":
		return byteSet{}.with(0, 31).with(127, 127), true
	case "graph":
		return graph, true
	case "print":
		return graph.with(' ', ' '), true
	case "punct":
		return graph.minus(lower.and(upper).and(digitBytes())), true
	case "ascii":
		return byteSet{}.with(0, 127), true
	}
	return byteSet{}, false
}

func (s byteSet) minus(less byteSet) byteSet {
	for c := range s {
		s[c] = s[c] && !less[c]
	}
	return s
}
