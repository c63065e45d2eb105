package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// screen is where `cohort dev` writes, a line at a time.
type screen struct {
	mu      sync.Mutex
	out     io.Writer
	colours bool
}

// newScreen writes to out, in colours where that is a terminal, unless NO_COLOR is set (no-color.org).
func newScreen(out io.Writer) *screen {
	s := &screen{out: out}
	if f, ok := out.(*os.File); ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		s.colours = err == nil
	}
	return s
}

func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, format, args...)
}

const (
	red    = 31
	yellow = 33
	grey   = 90
)

// paint gives each node its colour.
func (s *screen) paint(node string) string {
	n, _ := strconv.Atoi(strings.TrimLeft(node, "n")) // n1, n2, n3
	return s.in(34+n%3, node)                         // blue, magenta, cyan: not those of warnings
}

func (s *screen) in(colour int, text string) string {
	if !s.colours {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colour, text)
}

// follower turns the log of one node into lines for people.
type follower struct {
	node   string
	screen *screen
	half   []byte   // of a line
	said   []string // what was no log, the last of it
	ready  bool     // the node said so
}

// mostSaid is how many lines that are no log are kept.
const mostSaid = 20

// longest is the most that is kept of a line without an end.
const longest = 1 << 20

// Write is called by one goroutine.
func (f *follower) Write(b []byte) (int, error) {
	f.half = append(f.half, b...)
	for {
		line, rest, found := bytes.Cut(f.half, []byte{'\n'})
		if !found {
			if len(f.half) > longest {
				f.flush()
			}
			return len(b), nil
		}
		f.show(line)
		f.half = append(f.half[:0], rest...)
	}
}

// flush shows what had no line feed at its end.
func (f *follower) flush() {
	if len(f.half) > 0 {
		f.show(f.half)
		f.half = nil
	}
}

func (f *follower) show(line []byte) {
	r, ok := parseRecord(line)
	if !ok {
		text := strings.TrimSpace(string(line))
		if text == "" {
			return
		}
		f.said = append(f.said, text)
		f.said = f.said[max(0, len(f.said)-mostSaid):]
		f.screen.say("%s %s  %s\n", strings.Repeat(" ", len(clockFormat)), f.screen.paint(f.node), text)
		return
	}
	f.ready = f.ready || r.message == "node ready"
	f.screen.say("%s %s  %s\n", f.screen.in(grey, r.clock()), f.screen.paint(f.node), r.text(f.screen))
}

// record is a line of a node's log.
type record struct {
	at             time.Time
	level, message string
	facts          []fact
}

type fact struct{ key, value string }

// parseRecord keeps the order of the facts, and of a key that comes twice its first value: what belongs to
// the log itself stands in front.
func parseRecord(line []byte) (r record, ok bool) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return r, false
	}
	for i := 0; d.More(); i++ {
		key, err := d.Token()
		if err != nil {
			return r, false
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return r, false
		}
		switch text, _ := value.(string); {
		case key == "time" && i == 0:
			r.at, _ = time.Parse(time.RFC3339Nano, text) // shown as midnight when it is no time
		case key == "level" && r.level == "":
			r.level = text
		case key == "msg" && r.message == "":
			r.message = text
		default:
			r.facts = append(r.facts, fact{fmt.Sprint(key), inWords(value)})
		}
	}
	return r, r.message != ""
}

func inWords(value any) string {
	switch v := value.(type) {
	case string:
		if v == "" || strings.ContainsFunc(v, func(r rune) bool { return r == ' ' || r == '"' || !unicode.IsPrint(r) }) {
			return strconv.Quote(v)
		}
		return v
	case []any:
		var words []string
		for _, one := range v {
			words = append(words, inWords(one))
		}
		return strings.Join(words, ",")
	}
	return fmt.Sprint(value)
}

const clockFormat = "15:04:05.000"

func (r record) clock() string { return r.at.Format(clockFormat) }

// text is the message and its facts, the node apart, which stands in front of the line.
func (r record) text(s *screen) string {
	var b strings.Builder
	switch r.level {
	case "WARN":
		b.WriteString(s.in(yellow, r.level) + " ")
	case "ERROR":
		b.WriteString(s.in(red, r.level) + " ")
	}
	if r.message == "daemon output" {
		return b.String() + r.fact("daemon") + " | " + r.fact("line")
	}
	b.WriteString(r.message)
	node := false
	for _, f := range r.facts {
		if f.key == "node" && !node {
			node = true
			continue
		}
		fmt.Fprintf(&b, "  %s=%s", f.key, f.value)
	}
	return b.String()
}

func (r record) fact(key string) string {
	for _, f := range r.facts {
		if f.key == key {
			return f.value
		}
	}
	return ""
}
