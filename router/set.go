package router

import (
	"errors"
	"strconv"
	"strings"
)

// addVar is addvar:NAME=VALUE. The name is not expanded.
func addVar(args string, s *Scope) (Action, error) {
	name, value, ok := strings.Cut(args, "=")
	if !ok || name == "" {
		return nil, errors.New("it needs NAME=VALUE")
	}
	text := s.Text(value)
	return func(r *Request) Verdict {
		r.AddVar(name, text.Expand(r))
		return Next
	}, nil
}

// set is an action that gives one variable a new value.
func set(name string) Builder {
	return func(args string, s *Scope) (Action, error) {
		text := s.Text(args)
		return func(r *Request) Verdict {
			r.AddVar(name, text.Expand(r))
			return Next
		}, nil
	}
}

// setUser takes what stands before a colon, so that user:password and user:address will do.
func setUser(args string, s *Scope) (Action, error) {
	text := s.Text(args)
	return func(r *Request) Verdict {
		user, _, _ := strings.Cut(text.Expand(r), ":")
		r.AddVar("REMOTE_USER", user)
		return Next
	}, nil
}

// fixPathInfo takes as many bytes off PATH_INFO as SCRIPT_NAME has.
func fixPathInfo(string, *Scope) (Action, error) {
	return func(r *Request) Verdict {
		script, _ := r.Var("SCRIPT_NAME")
		path, _ := r.Var("PATH_INFO")
		if script != "" {
			r.AddVar("PATH_INFO", path[min(len(script), len(path)):])
		}
		return Next
	}, nil
}

// rewrite gives the request another path and, when the new URL has one, another query before the old.
func rewrite(then Verdict) Builder {
	return func(args string, s *Scope) (Action, error) {
		url := s.Text(args)
		return func(r *Request) Verdict {
			path, query, ok := strings.Cut(url.Expand(r), "?")
			r.AddVar("PATH_INFO", pathInfo(path))
			if ok {
				if old, _ := r.Var("QUERY_STRING"); old != "" {
					query += "&" + old
				}
				r.AddVar("QUERY_STRING", query)
			}
			return then
		}, nil
	}
}

// calculate is +:VAR,N and its sisters: 64 bits that wrap, N is 1 when left out, and what is not a number
// counts as 0. In uWSGI / multiplies, results below zero turn huge, and an unset variable ends the request.
func calculate(op func(a, b int64) int64) Builder {
	return func(args string, s *Scope) (Action, error) {
		name, amount, ok := strings.Cut(args, ",")
		if name == "" {
			return nil, errors.New("it needs the name of a variable")
		}
		if !ok {
			amount = "1"
		}
		text, value := s.Text(amount), s.requestVar(name)
		return func(r *Request) Verdict {
			n := op(Number(value(r)), Number(text.Expand(r)))
			r.AddVar(name, strconv.FormatInt(n, 10))
			return Next
		}, nil
	}
}

// divide truncates; by zero it gives 0, as the cache's arithmetic does.
func divide(a, b int64) int64 {
	if b == 0 {
		return 0
	}
	return a / b
}
