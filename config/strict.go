package config

import (
	"errors"
	"fmt"
)

// logic refuses what chooses among lines or brings more of them: to pass over such a line would change
// what the others mean.
func (r *reader) logic(entries []entry) []entry {
	var kept []entry
	for _, e := range entries {
		k := known(e.key)
		if k.class != logicOpen && k.class != logicEnd {
			kept = append(kept, e)
			continue
		}
		if k.class == logicOpen {
			r.fail(e.place, fmt.Errorf("option %q is not read yet: %s", e.key, k.why))
		}
	}
	return kept
}

// stranger judges an entry that is no option of ours.
func (r *reader) stranger(e entry) {
	switch k := known(e.key); k.class {
	case later:
		r.noticeOnce(e.key, e.place, "option %q of uWSGI is not built yet and does nothing", e.key)
	case accepted:
		r.noticeOnce(e.key, e.place, "option %q has no effect: %s", e.key, k.why)
	case silent:
	case refused:
		if r.used[e.key] {
			r.noticeOnce(e.key, e.place, "option %q is a placeholder here, not uWSGI's option", e.key)
			return
		}
		r.fail(e.place, fmt.Errorf("option %q %s", e.key, k.why))
	default:
		if !r.used[e.key] {
			r.unknown(e)
		}
	}
}

// unknown judges a name that nobody knows and no placeholder asks for. Old uWSGI files carry such names,
// so those are warned of; a misspelt option is a mistake everywhere, and so is any in [cohort].
func (r *reader) unknown(e entry) {
	near, misspelt := nearest(e.key, r.names())
	var err error
	switch {
	case !isName(e.key):
		err = errors.New("this is no option: write NAME = VALUE, with letters, digits and - in the name")
	case misspelt:
		err = fmt.Errorf("there is no option %q: did you mean %s?", e.key, near)
	case e.fromCommandLine():
		err = fmt.Errorf("there is no option %q: --help lists them all", e.key)
	default:
		err = fmt.Errorf("there is no option %q, and no %%(%s) uses it as a placeholder", e.key, e.key)
	}
	lenient := e.section != "cohort" && !misspelt && !e.fromCommandLine()
	if r.strict != nil {
		lenient = !*r.strict
	}
	if lenient {
		r.notice(e.place, "%v", err)
		return
	}
	r.fail(e.place, err)
}

// names are all names an option can have, ours first.
func (r *reader) names() []string {
	var names []string
	for _, o := range r.rows {
		names = append(names, o.name)
	}
	names = append(names, "set", "set-placeholder", "set-ph")
	return append(names, knownNames()...)
}
