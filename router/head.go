package router

import (
	"errors"
	"fmt"
	"strings"
)

// addHeader is addheader:Name: value.
func addHeader(args string, s *Scope) (Action, error) {
	if !strings.Contains(args, ":") {
		return nil, fmt.Errorf("%q has no colon: a header is Name: value", args)
	}
	name, value, _ := strings.Cut(args, ":")
	nameText, valueText := s.Text(name), s.Text(strings.TrimLeft(value, " \t"))
	if constant, ok := nameText.Constant(); ok && !isToken(constant) {
		return nil, fmt.Errorf("%q is not a header name", constant)
	}
	return func(r *Request) Verdict {
		name := nameText.Expand(r)
		if !isToken(name) {
			return r.Fail(fmt.Errorf("addheader: %q is not a header name", name))
		}
		r.addHeader(name, valueText.Expand(r))
		return Next
	}, nil
}

// isToken says whether name may name a header (RFC 9110, 5.6.2).
func isToken(name string) bool {
	for _, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return name != ""
}

// delHeader drops a header that is set by name, before or after this rule. What addheader: queues stays.
func delHeader(args string, s *Scope) (Action, error) {
	text := s.Text(args)
	return func(r *Request) Verdict {
		r.dropped = append(r.dropped, text.Expand(r))
		return Next
	}, nil
}

// clearHeaders is clearheaders:STATUS, a fresh head.
func clearHeaders(args string, s *Scope) (Action, error) {
	text := s.Text(args)
	if constant, ok := text.Constant(); ok {
		status, phrase, err := ParseStatus(constant)
		if err != nil {
			return nil, err
		}
		return func(r *Request) Verdict {
			r.Head(status, phrase)
			return Next
		}, nil
	}
	return func(r *Request) Verdict {
		status, phrase, err := ParseStatus(text.Expand(r))
		if err != nil {
			return r.Fail(fmt.Errorf("clearheaders: %w", err))
		}
		r.Head(status, phrase)
		return Next
	}, nil
}

// disableHeaders leaves only what HTTP itself needs. uWSGI leaves out the whole head, and so answers
// something that is not HTTP.
func disableHeaders(string, *Scope) (Action, error) {
	return func(r *Request) Verdict {
		r.bare = true
		return Next
	}, nil
}

func sendText(end string) Builder {
	return func(args string, s *Scope) (Action, error) {
		text := s.Text(args + end)
		return func(r *Request) Verdict {
			r.WriteString(text.Expand(r)) // the client is gone; there is nobody to tell
			return Next
		}, nil
	}
}

func redirect(status int, body string) Builder {
	return func(args string, s *Scope) (Action, error) {
		if args == "" {
			return nil, errors.New("it needs a URL")
		}
		url := s.Text(args)
		return func(r *Request) Verdict {
			to := url.Expand(r)
			r.Head(status, "")
			r.Header().Set("Location", to)
			r.WriteString(body) // the client is gone; there is nobody to tell
			return Break
		}, nil
	}
}
