package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cohortd/cohort/router"
)

// subjects are what the regular expression of a rule can be held against, beside PATH_INFO.
var subjects = []struct{ name, help string }{
	{"host", "Host header, with its port"},
	{"uri", "REQUEST_URI"},
	{"qs", "query string"},
	{"remote-addr", "address of the client"},
	{"user-agent", "User-Agent header"},
	{"remote-user", "REMOTE_USER"},
	{"referer", "Referer header"},
}

// ruleTable makes the rows of the four tables of rules.
func ruleTable(r *reader) []option {
	var rows []option
	for _, t := range []struct{ name, when string }{
		{"route", "after the request is read"},
		{"error-route", "when the status is known"},
		{"response-route", "before the headers are sent"},
		{"final-route", "after the response was sent"},
	} {
		add := func(suffix, help string, set func(entry) error) {
			rows = append(rows, option{name: t.name + suffix, help: help, group: groupRules, kind: list, set: set})
		}
		add("", fmt.Sprintf("REGEX ACTION:ARGS: %s, if the path matches", t.when), r.match(t.name, ""))
		for _, s := range subjects {
			add("-"+s.name, fmt.Sprintf("REGEX ACTION:ARGS: the same with the %s", s.help), r.match(t.name, s.name))
		}
		add("-if", "CONDITION:ARGS ACTION:ARGS: the same if the condition holds", r.test(t.name, router.If))
		add("-if-not", "CONDITION:ARGS ACTION:ARGS: the same if it does not hold", r.test(t.name, router.IfNot))
		if t.name != "route" {
			add("-status", "NNN ACTION:ARGS: the same if the status is NNN", r.status(t.name))
		}
		add("-run", "ACTION:ARGS: the same always", r.always(t.name))
		add("-label", "NAME: a place that goto:NAME goes on from", r.label(t.name))
	}
	return rows
}

func (r *reader) addRule(e entry, rule router.Rule) error {
	rule.Action = strings.TrimLeft(rule.Action, " \t")
	rule.Where = e.place.String()
	r.config.Rules = append(r.config.Rules, rule)
	return nil
}

var errNoAction = errors.New(`there is no action: a blank stands before it, and \s is a blank inside an expression`)

func (r *reader) match(table, subject string) func(entry) error {
	return func(e entry) error {
		test, action, found := strings.Cut(e.value, " ")
		if !found {
			return errNoAction
		}
		return r.addRule(e, router.Rule{Table: table, Kind: router.Match, Subject: subject, Test: test, Action: action})
	}
}

func (r *reader) test(table string, kind router.Kind) func(entry) error {
	return func(e entry) error {
		test, action, found := strings.Cut(e.value, " ")
		if !found {
			return errNoAction
		}
		return r.addRule(e, router.Rule{Table: table, Kind: kind, Test: test, Action: action})
	}
}

func (r *reader) status(table string) func(entry) error {
	return func(e entry) error {
		test, action, found := strings.Cut(e.value, " ")
		if !found {
			return errNoAction
		}
		if _, err := parseCount(test, 100, 999); err != nil {
			return err
		}
		return r.addRule(e, router.Rule{Table: table, Kind: router.Status, Test: test, Action: action})
	}
}

func (r *reader) always(table string) func(entry) error {
	return func(e entry) error {
		return r.addRule(e, router.Rule{Table: table, Kind: router.Run, Action: e.value})
	}
}

func (r *reader) label(table string) func(entry) error {
	return func(e entry) error {
		return r.addRule(e, router.Rule{Table: table, Kind: router.Label, Test: e.value})
	}
}
