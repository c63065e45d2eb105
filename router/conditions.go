package router

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// pair splits a condition's arguments at the first semicolon. Without one uWSGI's condition is false.
func pair(args string, s *Scope) (a, b Text, ok bool) {
	left, right, ok := strings.Cut(args, ";")
	if !ok {
		s.Notice("%s: %q has no semicolon, so the condition never holds", s.Action, args)
		return Text{}, Text{}, false
	}
	return s.Text(left), s.Text(right), true
}

func never(*Request) (bool, error) { return false, nil }

func compareText(holds func(a, b string) bool) ConditionBuilder {
	return func(args string, s *Scope) (Condition, error) {
		a, b, ok := pair(args, s)
		if !ok {
			return never, nil
		}
		return func(r *Request) (bool, error) { return holds(a.Expand(r), b.Expand(r)), nil }, nil
	}
}

func compareNumbers(holds func(a, b int64) bool) ConditionBuilder {
	return func(args string, s *Scope) (Condition, error) {
		a, b, ok := pair(args, s)
		if !ok {
			return never, nil
		}
		return func(r *Request) (bool, error) { return holds(Number(a.Expand(r)), Number(b.Expand(r))), nil }, nil
	}
}

func startsWith(a, b string) bool { return strings.HasPrefix(a, b) }
func endsWith(a, b string) bool   { return strings.HasSuffix(a, b) }

// contains is false for an empty pattern, as in uWSGI.
func contains(a, b string) bool { return b != "" && strings.Contains(a, b) }

func isEmpty(args string, s *Scope) (Condition, error) {
	text := s.Text(args)
	return func(r *Request) (bool, error) { return text.Expand(r) == "", nil }, nil
}

// matches is regexp:TEXT;PATTERN. A pattern without variables is compiled with the rules, any other when it
// is needed, unless it is the same as the last time.
func matches(args string, s *Scope) (Condition, error) {
	text, pattern, ok := pair(args, s)
	if !ok {
		return never, nil
	}
	var last atomic.Pointer[regex]
	constant, fixed := pattern.Constant()
	if fixed {
		x, err := compileRegex(constant)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", constant, err)
		}
		last.Store(x)
	}
	groups := s.groups
	return func(r *Request) (bool, error) {
		subject := text.Expand(r)
		x := last.Load()
		if !fixed {
			source := pattern.Expand(r)
			if x == nil || x.source != source {
				var err error
				if x, err = compileRegex(source); err != nil {
					return false, fmt.Errorf("regexp: %q: %w", source, err)
				}
				last.Store(x)
			}
		}
		return r.matched(x, subject, groups)
	}, nil
}

func isIPv4(a netip.Addr) bool { return a.Is4() }
func isIPv6(a netip.Addr) bool { return a.Is6() }

// inNetwork is ADDRESS;NETWORK[/LENGTH]. What cannot be read is in no network.
func inNetwork(family func(netip.Addr) bool) func(a, b string) bool {
	return func(a, b string) bool {
		addr, err := netip.ParseAddr(a)
		if err != nil || !family(addr) {
			return false
		}
		if !strings.Contains(b, "/") {
			network, err := netip.ParseAddr(b)
			return err == nil && addr == network
		}
		network, err := netip.ParsePrefix(b)
		return err == nil && network.Contains(addr.WithZone(""))
	}
}

func ofFile(holds func(path string) bool) ConditionBuilder {
	return func(args string, s *Scope) (Condition, error) {
		path := s.Text(args)
		return func(r *Request) (bool, error) { return holds(path.Expand(r)), nil }, nil
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&os.ModeSymlink != 0
}

// isExec is true for directories that may be searched, too: it is access(2).
func isExec(path string) bool { return unix.Access(path, unix.X_OK) == nil }

// Lord is the condition lord:LEGION.
func Lord(isLord func(legion string) bool) ConditionBuilder {
	return func(args string, s *Scope) (Condition, error) {
		legion := s.Text(args)
		return func(r *Request) (bool, error) { return isLord(legion.Expand(r)), nil }, nil
	}
}
