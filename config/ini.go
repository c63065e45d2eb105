package config

import (
	"errors"
	"os"
	"strings"
)

// entry is one option as it was written.
type entry struct {
	place
	key, value  string
	section     string // empty on the command line
	placeholder bool   // set-placeholder made it: it is never an option
}

func (e entry) fromCommandLine() bool { return e.file == commandLine }

// splitPath takes FILE:SECTION apart, unless a file has just that name.
func splitPath(path string) (file, section string) {
	if _, err := os.Stat(path); err == nil {
		return path, ""
	}
	i := strings.LastIndexByte(path, ':')
	if i <= 0 || strings.ContainsRune(path[i:], '/') {
		return path, ""
	}
	return path[:i], path[i+1:]
}

// source reads the text of one file into entries. uWSGI replaces %x in the whole text before it looks for
// lines; we do it line by line, so that every entry keeps its place.
func (r *reader) source(file, section, text string) {
	r.wanted, r.file = section, place{file: file}
	magic := newMagic(file, section)
	current, counted := "", false
	for i, line := range strings.Split(text, "\n") {
		at := place{file, i + 1}
		line = strings.Trim(line, " \t\r")
		if line == "" || line[0] == ';' || line[0] == '#' {
			continue
		}
		line, vanished := magic.expand(line)
		for _, pair := range vanished {
			r.notice(at, "%s", pair)
		}
		if line = strings.Trim(line, " \t\r"); line == "" {
			continue
		}
		if line[0] == '[' {
			name, rest, closed := strings.Cut(line[1:], "]")
			if !closed {
				r.fail(at, errors.New("a section is written as [name]: the closing bracket is missing"))
			} else if strings.TrimSpace(rest) != "" {
				r.fail(at, errors.New("a section is written as [name], alone on its line"))
			}
			current = strings.TrimSpace(name)
			counted = counted || r.counts(current)
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		r.entries = append(r.entries, entry{
			place: at, section: current,
			key: strings.Trim(key, " \t"), value: strings.Trim(value, " \t"),
		})
	}
	if !counted {
		r.notice(place{file: file}, "has no section %s: nothing in it counts", r.wantedNames())
	}
}

// counts tells whether the options of a section are read.
func (r *reader) counts(section string) bool {
	if r.wanted != "" {
		return section == r.wanted
	}
	return section == "uwsgi" || section == "cohort"
}

func (r *reader) wantedNames() string {
	if r.wanted != "" {
		return "[" + r.wanted + "]"
	}
	return "[uwsgi] or [cohort]"
}

// sections keeps the entries of the sections that count.
func (r *reader) sections(entries []entry) []entry {
	var kept []entry
	for _, e := range entries {
		switch {
		case e.fromCommandLine() || r.counts(e.section):
			kept = append(kept, e)
		case e.section == "":
			r.noticeOnce("no section", e.place, "stands before the first section and does not count: write %s above it", r.wantedNames())
		}
	}
	return kept
}
