package config

import (
	"errors"
	"strings"

	"github.com/cohortd/cohort/legion"
)

// check asks each part what it thinks of its Config. The parts do not know where a value was written; it is
// looked up by what their errors begin with.
func (r *reader) check() {
	said := map[place]bool{}
	for _, e := range r.mistakes {
		said[place{e.File, e.Line}] = true
	}
	c := r.config
	timeout := c.Raft.ControlTimeout
	r.blame(c.Cluster.Check(), r.seen["cluster"], said)
	r.blame(c.Raft.Check(), r.seen["cluster"], said)
	for _, l := range c.Legions {
		at := r.legionPlaces[l.Name]
		if timing, given := r.seen["legion-timing "+l.Name]; given {
			at = timing
		}
		r.blame(l.Check(legion.Raft{Heartbeat: timeout, Election: timeout, LeaderLease: timeout}), at, said)
	}
	r.blame(c.Gateway.Check(), r.seen["http-socket"], said)
}

// blame gives each of joined mistakes its place. Where something was said while the entries were read, the
// rest only follows from it.
func (r *reader) blame(err error, otherwise place, said map[place]bool) {
	for _, err := range flatten(err) {
		if at, err := r.placeOf(err, otherwise); !said[at] {
			r.fail(at, err)
		}
	}
}

// placeOf finds the place that an error begins with, or the option that it begins with.
func (r *reader) placeOf(err error, otherwise place) (place, error) {
	text := err.Error()
	for _, e := range r.entries {
		if rest, found := strings.CutPrefix(text, e.place.String()+": "); found {
			at := e.place
			if e.fromCommandLine() {
				at.line = 0 // it may be any word
			}
			return at, errors.New(rest)
		}
	}
	at, longest := otherwise, 0
	for _, o := range r.rows {
		if where, given := r.seen[o.slot]; given && len(o.name) > longest && strings.HasPrefix(text, o.name) {
			at, longest = where, len(o.name)
		}
	}
	if at == (place{}) {
		at = r.file
	}
	return at, err
}

// flatten takes joined mistakes apart, at any depth.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	switch {
	case err == nil:
		return nil
	case !ok:
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}
