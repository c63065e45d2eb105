package router

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
)

// tables are the four moments of a request at which rules run.
type tables struct {
	request  chain // before the handler
	errors   chain // each time a status is chosen, 200 too
	response chain // once, before the head is sent
	final    chain // after the answer
}

func (t *tables) named(table string) *chain {
	switch table {
	case "route":
		return &t.request
	case "error-route":
		return &t.errors
	case "response-route":
		return &t.response
	case "final-route":
		return &t.final
	}
	return nil
}

// Compile makes a Router of the rules, which may come from all four tables in any mixture. It reports every
// mistake, each with its place.
func Compile(rules []Rule, menu Menu, log *slog.Logger) (*Router, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost" // only SERVER_NAME wants it
	}
	t := &Router{log: log, host: host, handler: menu.Handler}
	if t.handler == nil {
		t.handler = NotFound
	}
	t.requests.New = func() any { return new(Request) }

	var mistakes []error
	for _, table := range []string{"route", "error-route", "response-route", "final-route"} {
		mistakes = append(mistakes, t.compileTable(table, rules, &menu)...)
	}
	for _, rule := range rules {
		if t.named(rule.Table) == nil {
			mistakes = append(mistakes, fmt.Errorf("%s: there is no table %q", rule.Where, rule.Table))
		}
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return t, nil
}

func (t *Router) compileTable(table string, rules []Rule, menu *Menu) (mistakes []error) {
	c := t.named(table)
	c.labels = map[string]int{}
	var mine []Rule
	for _, rule := range rules {
		if rule.Table != table {
			continue
		}
		// As in core/routing.c, the first of two equal labels counts.
		if _, twice := c.labels[rule.Test]; rule.Kind == Label && !twice {
			c.labels[rule.Test] = len(mine)
		}
		mine = append(mine, rule)
	}
	for i, rule := range mine {
		s := &Scope{menu: menu, chain: c, index: i, count: len(mine)}
		run, err := s.compile(rule)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %s: %w", rule.Where, rule.option(), err))
		}
		for _, notice := range s.notices {
			t.notices = append(t.notices, rule.Where+": "+rule.option()+": "+notice)
		}
		c.rules = append(c.rules, compiled{run, rule.Where})
	}
	return mistakes
}

// Scope is the rule being compiled: what its builder may ask, and tell.
type Scope struct {
	Action string // name of the action or condition being built, as written

	menu    *Menu
	chain   *chain
	index   int
	count   int
	groups  bool // some text of the rule has $0 to $9
	notices []string
}

// Notice tells the user something about this rule that is not a mistake.
func (s *Scope) Notice(format string, args ...any) {
	s.notices = append(s.notices, fmt.Sprintf(format, args...))
}

// Types are the content types by file extension.
func (s *Scope) Types() Types { return s.menu.Types }

func (s *Scope) compile(rule Rule) (Action, error) {
	if rule.Kind == Label {
		if rule.Action != "" {
			return nil, fmt.Errorf("a label has no action")
		}
		return func(*Request) Verdict { return Next }, nil
	}
	// The action comes first: it tells whether the match must remember its groups.
	act, actErr := s.action(rule.Action)
	test, testErr := s.test(rule)
	if err := errors.Join(testErr, actErr); err != nil {
		return nil, err
	}
	if test == nil {
		return act, nil
	}
	want := rule.Kind != IfNot
	return func(r *Request) Verdict {
		is, err := test(r)
		if err != nil {
			return r.Fail(err)
		}
		if is != want {
			return Next
		}
		return act(r)
	}, nil
}

func (s *Scope) test(rule Rule) (Condition, error) {
	switch rule.Kind {
	case Match:
		return s.subject(rule)
	case If, IfNot:
		return s.condition(rule.Test)
	case Status:
		return answerStatus(rule)
	}
	return nil, nil
}

func (s *Scope) action(text string) (Action, error) {
	name, args, ok := strings.Cut(text, ":")
	if text == "" {
		return nil, fmt.Errorf("there is no action: the first space ends the test, and the action follows it")
	}
	builder := s.menu.Actions[name]
	switch {
	case !ok && s.menu.Actions[text] != nil:
		return nil, fmt.Errorf("an action ends at a colon, also without arguments: write %q", text+":")
	case !ok:
		return nil, fmt.Errorf("there is no action in %q: an action is name:arguments, with its colon%s", text, maybe(firstWord(text), s.menu.Actions))
	case builder == nil:
		return nil, fmt.Errorf("there is no action %q%s", name, maybe(name, s.menu.Actions))
	}
	s.Action = name
	act, err := builder(args, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return act, nil
}

func (s *Scope) condition(text string) (Condition, error) {
	name, args, ok := strings.Cut(text, ":")
	builder := s.menu.Conditions[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("a condition is name:arguments, with its colon, and %q has none%s", text, maybe(text, s.menu.Conditions))
	case builder == nil:
		return nil, fmt.Errorf("there is no condition %q%s", name, maybe(name, s.menu.Conditions))
	}
	s.Action = name
	is, err := builder(args, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return is, nil
}

// subjects are the variables that route, route-host and so on look at.
var subjects = map[string]string{
	"":            "PATH_INFO",
	"host":        "HTTP_HOST",
	"uri":         "REQUEST_URI",
	"qs":          "QUERY_STRING",
	"remote-addr": "REMOTE_ADDR",
	"user-agent":  "HTTP_USER_AGENT",
	"remote-user": "REMOTE_USER",
	"referer":     "HTTP_REFERER",
}

// subject matches a part of the request against a regular expression. A part that the request does not have
// matches nothing, not even an expression that would match the empty text.
func (s *Scope) subject(rule Rule) (Condition, error) {
	name, ok := subjects[rule.Subject]
	if !ok {
		return nil, fmt.Errorf("no such part of a request%s", maybe(rule.Subject, subjects))
	}
	x, err := compileRegex(rule.Test)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", rule.Test, err)
	}
	base := baseVar(name)
	if rule.Subject == "host" {
		base = hostOrServer
	}
	groups := s.groups
	return func(r *Request) (bool, error) {
		text, ok := r.lookup(name, base)
		if !ok {
			return false, nil
		}
		return r.matched(x, text, groups)
	}, nil
}

func answerStatus(rule Rule) (Condition, error) {
	if rule.Table == "route" {
		return nil, fmt.Errorf("the request table runs before there is a status: use error-route-status, response-route-status or final-route-status")
	}
	want, err := strconv.Atoi(strings.TrimSpace(rule.Test))
	if err != nil {
		return nil, fmt.Errorf("%q is not a status", rule.Test)
	}
	return func(r *Request) (bool, error) { return r.Status() == want, nil }, nil
}

func firstWord(text string) string {
	word, _, _ := strings.Cut(text, " ")
	return word
}
