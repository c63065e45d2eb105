package router

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// always is an action whose argument has no meaning.
func always(v Verdict) Builder {
	return func(string, *Scope) (Action, error) {
		return func(*Request) Verdict { return v }, nil
	}
}

// breakOff is break:STATUS, a head without a body. Its argument is not expanded.
func breakOff(args string, _ *Scope) (Action, error) {
	if args == "" {
		return func(*Request) Verdict { return Break }, nil
	}
	status, phrase, err := ParseStatus(args)
	if err != nil {
		return nil, err
	}
	return func(r *Request) Verdict {
		r.Head(status, phrase)
		head := r.Header()
		head["Connection"] = closing
		head["Content-Type"] = textPlain
		return Break
	}, nil
}

// returnStatus is return:STATUS: the phrase as a head and as a body.
func returnStatus(args string, _ *Scope) (Action, error) {
	status, _, err := ParseStatus(args)
	if err != nil {
		return nil, err
	}
	return func(r *Request) Verdict {
		r.Head(status, "")
		r.plain(Phrase(status))
		return Break
	}, nil
}

// goTo is goto:LABEL or goto:NUMBER. A target that is known when the rules are compiled is checked then.
func goTo(args string, s *Scope) (Action, error) {
	text, c, from, count := s.Text(args), s.chain, s.index, s.count
	label, ok := text.Constant()
	if !ok {
		return func(r *Request) Verdict {
			target, err := c.find(text.Expand(r), from, count)
			if err != nil {
				return r.Fail(fmt.Errorf("goto: %w", err))
			}
			r.target = target
			return Goto
		}, nil
	}
	target, err := c.find(label, from, count)
	if err != nil {
		return nil, err
	}
	return func(r *Request) Verdict {
		r.target = target
		return Goto
	}, nil
}

// find is the rule that a label or a number names. Rules are numbered from 0, labels too. Only rules behind
// the asking one can be reached, so every request comes to an end.
func (c *chain) find(label string, from, count int) (int, error) {
	target, ok := c.labels[label]
	if !ok {
		n, err := strconv.Atoi(label)
		if err != nil || n < 0 || n >= count {
			return 0, fmt.Errorf("there is no label %q in this table%s", label, maybe(label, c.labels))
		}
		target = n
	}
	if target <= from {
		return 0, fmt.Errorf("%q is not ahead of this rule: goto: only jumps forward", label)
	}
	return target, nil
}

// goOn refuses a name that old pages of uWSGI mention.
func goOn(string, *Scope) (Action, error) {
	return nil, errors.New("there is no such action: to go on after a failure use the -next form of the action, such as basicauth-next")
}

func logText(args string, s *Scope) (Action, error) {
	text := s.Text(args)
	return func(r *Request) Verdict {
		line, _, _ := strings.Cut(text.Expand(r), "\x00")
		r.router.log.Info("rule", "text", line, "rule", r.where)
		return Next
	}, nil
}

// logVar is logvar:NAME=VALUE, one more fact in the request's log line.
func logVar(args string, s *Scope) (Action, error) {
	name, value, ok := strings.Cut(args, "=")
	if !ok || name == "" {
		return nil, errors.New("it needs NAME=VALUE")
	}
	text := s.Text(value)
	return func(r *Request) Verdict {
		r.logVars = append(r.logVars, variable{name, text.Expand(r)})
		return Next
	}, nil
}

func doNotLog(string, *Scope) (Action, error) {
	return func(r *Request) Verdict {
		r.quiet = true
		return Next
	}, nil
}
