package config

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	rows := table(newReader(nil))
	names := map[string]bool{}
	for _, o := range rows {
		if names[o.name] {
			t.Errorf("option %s has two rows", o.name)
		}
		names[o.name] = true
		if !slices.Contains(Groups(), o.group) || o.set == nil {
			t.Errorf("option %s is in group %q, set %v", o.name, o.group, o.set != nil)
		}
		if argument, what, found := o.splitHelp(); o.kind != yesNo && !found || what == "" || strings.Contains(what, "\n") {
			t.Errorf("option %s has the help %q %q", o.name, argument, what)
		}
		if k := known(o.name); k.class != unknown {
			t.Errorf("option %s is in the table and among uWSGI's that are not", o.name)
		}
	}
}

// Options that many files have must be known by what becomes of them.
func TestKnown(t *testing.T) {
	for name, want := range map[string]class{
		"socket": later, "static-map": later, "touch-exec": later, "legion-cron": later, "stats": later, "harakiri": later,
		"processes": accepted, "threads": accepted, "cheaper": accepted, "gevent": accepted, "legion-freq": accepted,
		"wsgi-file": refused, "module": refused, "php-docroot": refused, "emperor": refused, "zerg": refused, "namespace": refused, "symcall": refused,
		"for": logicOpen, "if-env": logicOpen, "include": logicOpen, "endif": logicEnd,
		"offload-threads": silent, "cluster-join": unknown, "": unknown,
	} {
		if got := known(name); got.class != want {
			t.Errorf("known(%q) = class %d, want %d", name, got.class, want)
		}
	}
	for name, o := range uwsgiOptions() {
		if o.class == unknown || !isName(name) || (o.class == accepted || o.class == refused || o.class == logicOpen) && o.why == "" {
			t.Errorf("known(%q) = %+v", name, o)
		}
	}
}

func TestHelpAndMarkdown(t *testing.T) {
	var help, markdown bytes.Buffer
	if err := Help(&help, ""); err != nil {
		t.Fatal(err)
	}
	Markdown(&markdown)
	for _, o := range table(newReader(nil)) {
		if !strings.Contains(help.String(), "--"+o.name+"\n") && !strings.Contains(help.String(), "--"+o.name+" ") {
			t.Errorf("Help does not have %s", o.name)
		}
		if !strings.Contains(markdown.String(), "| `"+o.name+"` |") {
			t.Errorf("Markdown does not have %s", o.name)
		}
	}
	if !strings.Contains(markdown.String(), "| `cluster-role` | `voter\\|client` | voter |") {
		t.Error("Markdown does not escape |")
	}
	var one bytes.Buffer
	err := Help(&one, "gateway")
	if s := one.String(); err != nil || !strings.HasPrefix(s, "gateway:\n  --http") || strings.Contains(s, "--node") {
		t.Errorf("Help of one group = %v:\n%s", err, s)
	}
	if err := Help(&one, "gatewy"); err == nil {
		t.Error("Help of an unknown group is no mistake")
	}
}
