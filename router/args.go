package router

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Keys reads "key=value,key=value" as core/utils.c does: a backslash takes the next byte as it is, only the
// first = of an item counts. A key that is not among known is a mistake when it looks misspelt, else it has
// no effect, and the user is told.
func (s *Scope) Keys(args string, known ...string) (map[string]string, error) {
	keys := map[string]string{}
	for _, item := range splitItems(args) {
		key, value, ok := strings.Cut(item, "=")
		switch {
		case item == "":
		case !ok:
			s.Notice("%s: %q has no = and no effect", s.Action, item)
		case slices.Contains(known, key):
			keys[key] = value
		case misspelt(key, known) != "":
			return nil, fmt.Errorf("there is no key %s=; did you mean %s=?", key, misspelt(key, known))
		default:
			s.Notice("%s: the key %s= is unknown and has no effect", s.Action, key)
		}
	}
	return keys, nil
}

// splitItems splits at commas that have no backslash before them.
func splitItems(args string) (items []string) {
	var item strings.Builder
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == '\\' && i+1 < len(args):
			i++
			item.WriteByte(args[i])
		case args[i] == ',':
			items = append(items, item.String())
			item.Reset()
		default:
			item.WriteByte(args[i])
		}
	}
	return append(items, item.String())
}

// Number reads the number at the start of text, as strtol does: blanks, a sign, digits; no digits are 0, and
// what does not fit into 64 bits is the nearest number that does.
func Number(text string) int64 {
	text = strings.TrimLeft(text, " \t\n\v\f\r")
	end := 0
	if end < len(text) && (text[end] == '-' || text[end] == '+') {
		end++
	}
	for end < len(text) && text[end] >= '0' && text[end] <= '9' {
		end++
	}
	n, _ := strconv.ParseInt(text[:end], 10, 64) // out of range gives the limit
	return n
}
