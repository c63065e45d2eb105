package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// commandLine stands where a file name would, for options given after the file.
const commandLine = "command line"

// Error is a mistake in the ini file, at the place where it was made.
type Error struct {
	File string // as it was given, or "command line"
	Line int    // from 1, on the command line the word behind the file; 0 is the whole file
	Err  error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %v", place{e.File, e.Line}, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// place is where something was written.
type place struct {
	file string
	line int
}

func (p place) String() string {
	if p.line == 0 || p.file == commandLine {
		return p.file
	}
	return fmt.Sprintf("%s:%d", p.file, p.line)
}

// remark is a notice that is still to be put in order.
type remark struct {
	place
	text string
}

func (r *reader) fail(at place, err error) {
	r.mistakes = append(r.mistakes, &Error{File: at.file, Line: at.line, Err: err})
}

// failOnce tells of each topic only where it was met first.
func (r *reader) failOnce(topic string, at place, err error) {
	if !r.told[topic] {
		r.told[topic] = true
		r.fail(at, err)
	}
}

func (r *reader) notice(at place, format string, args ...any) {
	r.remarks = append(r.remarks, remark{at, fmt.Sprintf(format, args...)})
}

// noticeOnce tells of each topic only where it was met first.
func (r *reader) noticeOnce(topic string, at place, format string, args ...any) {
	if r.told[topic] {
		return
	}
	r.told[topic] = true
	r.notice(at, format, args...)
}

// result puts mistakes and notices in the order in which they stand in the file, what was given on the
// command line last.
func (r *reader) result() (*Config, error) {
	slices.SortStableFunc(r.mistakes, func(a, b *Error) int {
		return comparePlaces(place{a.File, a.Line}, place{b.File, b.Line})
	})
	slices.SortStableFunc(r.remarks, func(a, b remark) int { return comparePlaces(a.place, b.place) })
	for _, n := range r.remarks {
		r.config.Notices = append(r.config.Notices, n.place.String()+": "+n.text)
	}
	errs := make([]error, len(r.mistakes))
	for i, e := range r.mistakes {
		errs[i] = e
	}
	return r.config, errors.Join(errs...)
}

func comparePlaces(a, b place) int {
	if (a.file == commandLine) != (b.file == commandLine) {
		if a.file == commandLine {
			return 1
		}
		return -1
	}
	return cmp.Compare(a.line, b.line)
}

// readError drops the path from a file error: the place before it names the file already.
func readError(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return fmt.Errorf("cannot be read: %w", pathErr.Err)
	}
	return fmt.Errorf("cannot be read: %w", err)
}
