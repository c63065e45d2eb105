package config

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// reader is one Load: the entries on their way, and what was found wrong with them.
type reader struct {
	config  *Config
	env     func(string) (string, bool)
	rows    []option
	options map[string]option

	wanted  string // the section that counts; empty: uwsgi and cohort
	entries []entry
	used    map[string]bool // names that some %(name) asks for
	strict  *bool           // nil: as the section has it
	seen    map[string]place

	legionPlaces map[string]place
	own          map[string]bool // "option legion": a legion was given this for itself
	stopGrace    time.Duration   // of all daemons; 0: each its own

	file     place // the whole file, or the command line without one
	mistakes []*Error
	remarks  []remark
	told     map[string]bool
}

func newReader(env func(string) (string, bool)) *reader {
	r := &reader{
		config:       &Config{},
		env:          env,
		options:      map[string]option{},
		used:         map[string]bool{},
		seen:         map[string]place{},
		own:          map[string]bool{},
		legionPlaces: map[string]place{},
		told:         map[string]bool{},
		file:         place{file: commandLine},
	}
	r.rows = table(r)
	for i := range r.rows {
		o := &r.rows[i]
		o.slot = cmp.Or(o.slot, o.name)
		r.options[o.name] = *o
	}
	return r
}

// run sends the entries through all steps and sets what is left.
func (r *reader) run() {
	entries := r.entries
	for _, step := range r.steps() {
		entries = step(entries)
	}
	for _, first := range []bool{true, false} {
		for _, e := range entries {
			if o, ours := r.options[e.key]; !e.placeholder && ours && o.first == first {
				r.apply(o, e)
			}
		}
	}
	for _, e := range entries {
		if _, ours := r.options[e.key]; !e.placeholder && !ours {
			r.stranger(e)
		}
	}
	r.finish()
}

// steps are what the entries go through, in this order, until only options are left.
func (r *reader) steps() []func([]entry) []entry {
	return []func([]entry) []entry{
		r.sections,
		r.logic,
		r.set,
		r.environment,
		r.placeholders,
		r.replaced,
	}
}

// replaced drops what a later entry stands in the place of: of single options all but the last, of places
// what the file says when the command line says something.
func (r *reader) replaced(entries []entry) []entry {
	last := map[string]int{} // by slot
	for i, e := range entries {
		if o, ours := r.options[e.key]; ours && !e.placeholder {
			last[o.slot] = i
		}
	}
	var kept []entry
	for i, e := range entries {
		o, ours := r.options[e.key]
		if ours && !e.placeholder {
			winner := last[o.slot]
			if o.kind.single() && i != winner || o.kind == places && entries[winner].fromCommandLine() && !e.fromCommandLine() {
				continue
			}
		}
		kept = append(kept, e)
	}
	return kept
}

func (r *reader) apply(o option, e entry) {
	r.seen[o.name], r.seen[o.slot] = e.place, e.place
	if e.value == "" && o.kind != yesNo {
		r.fail(e.place, fmt.Errorf("%s: no value: it wants %s", o.name, o.argument()))
		return
	}
	for _, err := range flatten(o.set(e)) {
		r.fail(e.place, fmt.Errorf("%s: %w", o.name, err))
	}
}

func (r *reader) setStrict(e entry) error {
	yes := parseFlag(e.value)
	r.strict = &yes
	return nil
}

// finish fills in what was not asked for, and checks what only the whole can show.
func (r *reader) finish() {
	c := r.config
	if c.Node == "" {
		c.Node = hostName()
	}
	if c.Data == "" {
		c.Data = "." + string(filepath.Separator) + filepath.Join("cohort-data", c.Node)
	}
	c.Cluster.Node = c.Node
	if c.Cluster.Name == "" {
		c.Cluster.Name = "cohort"
	}
	if c.Raft.ControlTimeout == 0 {
		c.Raft.ControlTimeout = 500 * time.Millisecond
	}
	if c.Raft.CacheTimeout == 0 {
		c.Raft.CacheTimeout = time.Second
	}
	r.finishDaemons()
	r.finishLegions()
	r.judgeCluster()
	r.check()
}

// hostName is the name of the machine, as far as it may be the name of a node.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || word(&name)(entry{value: name}) != nil {
		return "node"
	}
	return name
}
