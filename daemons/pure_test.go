package daemons

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cohortd/cohort/clock"
)

func TestBackoff(t *testing.T) {
	for name, tt := range map[string]struct {
		failures int
		chance   float64
		want     time.Duration
	}{
		"first":             {0, 0.5, 200 * time.Millisecond},
		"doubles":           {3, 0.5, 1600 * time.Millisecond},
		"20 % less":         {0, 0, 160 * time.Millisecond},
		"20 % more":         {1, 1, 480 * time.Millisecond},
		"last step":         {7, 0.5, 25600 * time.Millisecond},
		"most":              {8, 0.5, 30 * time.Second},
		"never overflows":   {1 << 40, 0.5, 30 * time.Second},
		"nonsense is first": {-1, 0.5, 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			if got := backoff(tt.failures, tt.chance).Round(time.Millisecond); got != tt.want {
				t.Errorf("backoff(%d, %v) = %v, want %v", tt.failures, tt.chance, got, tt.want)
			}
		})
	}
}

func TestArgv(t *testing.T) {
	find := func(name string) string {
		if name == "memcached" || name == "echo" {
			return "/usr/bin/" + name
		}
		if strings.HasPrefix(name, "/opt/") {
			return name
		}
		return ""
	}
	for line, want := range map[string][]string{
		"memcached -p 11211":                {"/usr/bin/memcached", "memcached", "-p", "11211"},
		"  memcached\t-v ":                  {"/usr/bin/memcached", "memcached", "-v"},
		"/opt/x --a=b":                      {"/opt/x", "/opt/x", "--a=b"},
		"memcached -p $PORT":                {"/bin/sh", "sh", "-c", "exec memcached -p $PORT"},
		`memcached -p "1 2"`:                {"/bin/sh", "sh", "-c", `exec memcached -p "1 2"`},
		"memcached >/tmp/x 2>&1":            {"/bin/sh", "sh", "-c", "exec memcached >/tmp/x 2>&1"},
		"memcached; true":                   {"/bin/sh", "sh", "-c", "memcached; true"},
		"memcached &":                       {"/bin/sh", "sh", "-c", "memcached &"},
		"memcached | cat":                   {"/bin/sh", "sh", "-c", "memcached | cat"},
		"memcached -p $(cat /etc/port)":     {"/bin/sh", "sh", "-c", "memcached -p $(cat /etc/port)"},
		"exec memcached -u nobody":          {"/bin/sh", "sh", "-c", "exec memcached -u nobody"},
		"PORT=1 memcached":                  {"/bin/sh", "sh", "-c", "PORT=1 memcached"},
		"cd /srv":                           {"/bin/sh", "sh", "-c", "cd /srv"},
		"no-such-program -x":                {"/bin/sh", "sh", "-c", "no-such-program -x"},
		"echo one\necho two":                {"/bin/sh", "sh", "-c", "echo one\necho two"},
		"while :; do memcached; done":       {"/bin/sh", "sh", "-c", "while :; do memcached; done"},
		`echo "a;b"`:                        {"/bin/sh", "sh", "-c", `echo "a;b"`},
		"memcached -s ~/sock # the comment": {"/bin/sh", "sh", "-c", "exec memcached -s ~/sock # the comment"},
	} {
		t.Run(line, func(t *testing.T) {
			path, args := argv(line, find)
			if diff := cmp.Diff(want, append([]string{path}, args...)); diff != "" {
				t.Errorf("argv(%q): -want +got\n%s", line, diff)
			}
		})
	}
}

func TestFindProgram(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "yes"), nil, 0o755)
	os.WriteFile(filepath.Join(dir, "no"), nil, 0o644)
	os.Mkdir(filepath.Join(dir, "dir"), 0o755)
	for name, want := range map[string]string{
		"yes": filepath.Join(dir, "yes"), "no": "", "dir": "", "nothing": "", "": "",
		filepath.Join(dir, "yes"): filepath.Join(dir, "yes"), filepath.Join(dir, "no"): "",
	} {
		if got := findProgram(name, ":/nonexistent:"+dir); got != want {
			t.Errorf("findProgram(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestInherit(t *testing.T) {
	got := inherit([]string{
		"PATH=/bin", "COHORT_EPOCH=3", "COHORT_NODE=x", "COHORT_GUARDIAN=y", "COHORT_CLUSTER_SECRET=s", "COHORT_API_TOKEN=t",
		"COHORT_COLOUR=blue", "NOTIFY_SOCKET=/run/x", "LISTEN_FDS=1", "WATCHDOG_USEC=1", "MY_SECRET=kept", "EMPTY=",
	})
	want := []string{"PATH=/bin", "COHORT_COLOUR=blue", "MY_SECRET=kept", "EMPTY="}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("inherit: -want +got\n%s", diff)
	}
}

// at is a moment on clocks that all agree.
func at(d time.Duration) clock.Reading { return clock.Reading{Boot: d, Mono: d, Raw: d} }

func TestDeadline(t *testing.T) {
	timing := Timing{Lease: 5 * time.Second, Soft: 1500 * time.Millisecond, Kill: time.Second}
	d := deadline{timing: timing, since: at(100 * time.Second)}
	for name, tt := range map[string]struct {
		now                       clock.Reading
		mayStart, over, mustKills bool
	}{
		"just renewed":                 {at(100 * time.Second), true, false, false},
		"last start":                   {at(103300 * time.Millisecond), true, false, false},
		"too late for a start":         {at(103301 * time.Millisecond), false, false, false},
		"soft deadline":                {at(103500 * time.Millisecond), false, true, false},
		"kill time":                    {at(104 * time.Second), false, true, true},
		"long after":                   {at(1000 * time.Second), false, true, true},
		"suspended: boot clock counts": {clock.Reading{Boot: 104 * time.Second, Mono: 100 * time.Second, Raw: 100 * time.Second}, false, true, true},
		"slewed: raw clock counts":     {clock.Reading{Boot: 103 * time.Second, Mono: 103 * time.Second, Raw: 104 * time.Second}, false, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := d.mayStart(tt.now); got != tt.mayStart {
				t.Errorf("mayStart = %v, want %v", got, tt.mayStart)
			}
			if got := d.over(tt.now); got != tt.over {
				t.Errorf("over = %v, want %v", got, tt.over)
			}
			if got := d.mustKill(tt.now); got != tt.mustKills {
				t.Errorf("mustKill = %v, want %v", got, tt.mustKills)
			}
		})
	}
	forever := deadline{timing: timing, forever: true}
	if !forever.mayStart(at(time.Hour)) || forever.over(at(time.Hour)) || forever.mustKill(at(time.Hour)) {
		t.Error("a deadline that lasts for ever has ended")
	}
}

func TestExtend(t *testing.T) {
	now := at(20 * time.Second)
	for name, tt := range map[string]struct {
		since clock.Reading
		want  bool
	}{
		"newer":            {at(12 * time.Second), true},
		"older":            {at(9 * time.Second), false},
		"the same":         {at(10 * time.Second), false},
		"from the future":  {at(21 * time.Second), false},
		"clocks disagree":  {clock.Reading{Boot: 12 * time.Second, Mono: 12 * time.Second, Raw: 9 * time.Second}, false},
		"at this moment":   {now, true},
		"only raw went on": {clock.Reading{Boot: 10 * time.Second, Mono: 10 * time.Second, Raw: 11 * time.Second}, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := deadline{timing: quick, since: at(10 * time.Second)}
			if got := d.extend(tt.since, now); got != tt.want || (d.since == tt.since) != (tt.want || name == "the same") {
				t.Errorf("extend(%v) = %v, since %v; want %v", tt.since, got, d.since, tt.want)
			}
		})
	}
}

func TestNap(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		left  time.Duration
		close bool
		want  time.Duration
	}{
		{-ms, false, ms},
		{0, true, ms},
		{50 * ms, false, 50 * ms},
		{50 * ms, true, 50 * ms},
		{120 * ms, false, 100 * ms},
		{4000 * ms, false, 3000 * ms},
		{4000 * ms, true, 100 * ms},
	} {
		if got := nap(tt.left, tt.close); got != tt.want {
			t.Errorf("nap(%v, %v) = %v, want %v", tt.left, tt.close, got, tt.want)
		}
	}
}

func TestGraceFor(t *testing.T) {
	const ms = time.Millisecond
	timing := Timing{Lease: 5000 * ms, Soft: 1500 * ms, Kill: 1000 * ms, Grace: 500 * ms}
	for name, tt := range map[string]struct {
		why     reason
		age     time.Duration // of the renewal
		hooks   bool
		forever bool
		want    time.Duration
	}{
		"planned: as asked":               {why: endStop, age: 3000 * ms, want: 10000 * ms},
		"deadline: until the kill time":   {why: endDeadline, age: 3500 * ms, want: 500 * ms},
		"deadline: the hooks get half":    {why: endDeadline, age: 3500 * ms, hooks: true, want: 250 * ms},
		"deadline, seen late":             {why: endDeadline, age: 3900 * ms, want: 100 * ms},
		"deadline, seen late, with hooks": {why: endDeadline, age: 3900 * ms, hooks: true, want: 0},
		"deadline, seen after all":        {why: endDeadline, age: 9000 * ms, want: 0},
		"node died":                       {why: endOrphan, age: 500 * ms, hooks: true, want: 500 * ms},
		"node died near the end":          {why: endOrphan, age: 3700 * ms, want: 300 * ms},
		"aborted":                         {why: endAbort, age: 500 * ms, want: 500 * ms},
		"no lease: node died":             {why: endOrphan, forever: true, hooks: true, want: 500 * ms},
		"no lease: planned":               {why: endStop, forever: true, want: 10000 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			d := deadline{timing: timing, since: at(0), forever: tt.forever}
			if got := graceFor(tt.why, d, at(tt.age), 10000*ms, tt.hooks); got != tt.want {
				t.Errorf("graceFor(%v) = %v, want %v", tt.why, got, tt.want)
			}
		})
	}
}

func TestParseStat(t *testing.T) {
	line := "42 (a) Z 1 (b) S 7 42 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 9 9 9"
	want := process{pid: 42, ppid: 7, session: 41, state: 'S', start: 123456}
	if got, err := parseStat(42, []byte(line)); err != nil || got != want {
		t.Errorf("parseStat(%q) = %+v, %v; want %+v", line, got, err, want)
	}
	for _, bad := range []string{"", "42 (x) S", "42 (x) S a b c 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 d"} {
		if p, err := parseStat(42, []byte(bad)); err == nil {
			t.Errorf("parseStat(%q) = %+v, want an error", bad, p)
		}
	}
}

func TestOwnCgroup(t *testing.T) {
	for name, tt := range map[string]struct{ mountinfo, cgroup, want string }{
		"plain":         {"31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n", "0::/system.slice/cohort.service\n", "/sys/fs/cgroup/system.slice/cohort.service"},
		"hybrid":        {"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n42 31 0:39 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw\n", "3:cpu:/x\n0::/\n", "/sys/fs/cgroup/unified"},
		"only v1":       {"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "1:cpu:/\n", ""},
		"part of it":    {"31 23 0:28 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/docker/abc/x\n", "/sys/fs/cgroup/x"},
		"another part":  {"31 23 0:28 /docker/ab /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/docker/abc\n", ""},
		"space in path": {`31 23 0:28 / /mnt/c\040g rw - cgroup2 cgroup2 rw` + "\n", "0::/\n", "/mnt/c g"},
		"nothing":       {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ownCgroup(tt.mountinfo, tt.cgroup); got != tt.want {
				t.Errorf("ownCgroup = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCut(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for name, tt := range map[string]struct {
		reads []string
		want  []string
	}{
		"lines":                    {[]string{"one\ntwo\n"}, []string{"one", "two"}},
		"in pieces":                {[]string{"o", "ne\nt", "wo\n"}, []string{"one", "two"}},
		"no end":                   {[]string{"one\ntwo"}, []string{"one", "two"}},
		"empty lines":              {[]string{"\n\n"}, []string{"", ""}},
		"carriage return":          {[]string{"one\r\n"}, []string{"one"}},
		"as long as may be":        {[]string{long + "\nb\n"}, []string{long, "b"}},
		"too long is cut":          {[]string{long + "y\nb\n"}, []string{long, "y", "b"}},
		"too long, in pieces":      {[]string{long[:maxLine-1], "xy", "\n"}, []string{long, "y"}},
		"nothing":                  {[]string{""}, nil},
		"twice as long as may be":  {[]string{long + long + "\n"}, []string{long, long}},
		"bytes that are not UTF-8": {[]string{"\xff\x00\n"}, []string{"\xff\x00"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			keep := func(_, _ string, text []byte) { got = append(got, string(text)) }
			tap := &tap{}
			for _, r := range tt.reads {
				tap.cut([]byte(r), keep)
			}
			tap.finish(keep)
			if !slices.Equal(got, tt.want) {
				t.Errorf("%q gives %d lines %.80q, want %d %.80q", name, len(got), got, len(tt.want), tt.want)
			}
		})
	}
}

func TestRing(t *testing.T) {
	r := new(ring)
	if got := r.last(5); len(got) != 0 {
		t.Errorf("an empty ring has %q", got)
	}
	for i := range 2*ringLines + 3 {
		r.add(string(rune('a' + i%26)))
	}
	if got, want := strings.Join(r.last(3), ""), string([]byte{'a' + (2*ringLines)%26, 'a' + (2*ringLines+1)%26, 'a' + (2*ringLines+2)%26}); got != want {
		t.Errorf("last(3) = %q, want %q", got, want)
	}
	if got := len(r.last(1 << 20)); got != ringLines {
		t.Errorf("it keeps %d lines, want %d", got, ringLines)
	}
}

func TestPidfile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pid")
	for text, want := range map[string]int{"123\n": 123, " 77 x": 77, "1\n": 0, "-4": 0, "": 0, "abc": 0, "99999999999999999999": 0} {
		os.WriteFile(path, []byte(text), 0o600)
		pid, err := readPidfile(path)
		if pid != want || (err == nil) != (want != 0) {
			t.Errorf("readPidfile(%q) = %d, %v; want %d", text, pid, err, want)
		}
	}
	os.WriteFile(path, []byte("5"), 0o600)
	if err := removePidfile(path, 6); err == nil {
		t.Error("a pidfile that has changed since it was read was removed")
	}
	if err := removePidfile(path, 5); err != nil {
		t.Error(err)
	}
	if err := removePidfile(path, 5); err != nil {
		t.Errorf("removing a pidfile that is gone: %v", err)
	}
	target := filepath.Join(dir, "target")
	os.WriteFile(target, []byte("7"), 0o600)
	os.Symlink(target, path)
	if pid, err := readPidfile(path); err == nil {
		t.Errorf("readPidfile followed a link to %d", pid)
	}
	os.Remove(path)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readPidfile(path); !errors.Is(err, errNotPidfile) { // and does not hang
		t.Errorf("readPidfile of a fifo: %v, want %v", err, errNotPidfile)
	}
	if err := removePidfile(path, 7); err == nil {
		t.Error("a fifo was removed")
	}
}

func TestPass(t *testing.T) {
	p := pass{since: clock.Reading{Boot: 1, Mono: 2, Raw: 3}, limit: -1, oom: -900, nice: -10, keepOOM: true}
	if got := decodePass(p.encode()); got != p {
		t.Errorf("decodePass(encode(%+v)) = %+v", p, got)
	}
	if p.over(at(time.Hour)) {
		t.Error("without a limit it is never too late")
	}
	p = pass{since: at(time.Second), limit: time.Second}
	if p.over(at(2*time.Second)) || !p.over(at(2*time.Second+1)) {
		t.Error("the limit is not where it should be")
	}
}

// messages is one of each kind.
func messages() []message {
	r := clock.Reading{Boot: 5 * time.Hour, Mono: 4 * time.Hour, Raw: 3 * time.Hour}
	return []message{
		{kind: kindCharge, order: order{
			charge: Charge{
				Legion: "blue", Epoch: 1<<63 + 5, Node: "n1", Boot: 9,
				Daemons: []Daemon{
					{Name: "a", Command: "sleep 5", StopSignal: syscall.SIGINT, StopGrace: time.Second},
					{Name: "b", Command: "x", Pidfile: "/run/x", Freq: 3},
				},
				LordHooks: []string{"one"}, UnlordHooks: []string{"two", ""}, HookTimeout: time.Minute,
				Timing: quick, Since: r, Ticket: []byte{0, 255}, Voters: []string{"10.0.0.1:7400"}, Env: []string{"A=b"},
			},
			token: "t", leaf: "/sys/fs/cgroup/x", stateFile: "/var/x", undo: true,
		}},
		{kind: kindExtend, epoch: 7, since: r},
		{kind: kindStop, grace: -time.Second},
		{kind: kindAbort},
		{kind: kindVoters, voters: []string{"a:1", "b:2"}},
		{kind: kindVoters},
		{kind: kindState, daemon: 3, report: report{state: Running, pid: 77, restarts: 2, lastExit: "signal: killed"}},
		{kind: kindLine, tag: "a", stream: "stderr", text: "x\x00\xff"},
		{kind: kindDropped, count: 12},
		{kind: kindNote, tag: "a", text: "b", warn: true},
		{kind: kindEnded, reason: endOrphan},
		{kind: kindDown, outcome: Outcome{HookFailed: true}},
	}
}

var compareMessages = cmp.AllowUnexported(message{}, order{}, report{})

func TestMessages(t *testing.T) {
	var stream []byte
	for _, m := range messages() {
		var err error
		if stream, err = appendFrame(stream, &m); err != nil {
			t.Fatal(err)
		}
	}
	var in frames
	var got []message
	for _, b := range stream { // in the smallest pieces there are
		in.buf = append(in.buf, b)
		m, ok, err := in.next()
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			got = append(got, m)
		}
	}
	want := messages()
	for i := range want {
		if i >= len(got) {
			t.Fatalf("%d messages came, want %d", len(got), len(want))
		}
		if diff := cmp.Diff(want[i], got[i], compareMessages); diff != "" {
			if want[i].kind != kindCharge {
				t.Errorf("message %d: -want +got\n%s", i, diff)
			}
		}
	}
	if diff := cmp.Diff(want[0].order, got[0].order, compareMessages); diff != "" {
		t.Errorf("charge: -want +got\n%s", diff)
	}
}

func TestBadFrames(t *testing.T) {
	good, err := appendFrame(nil, &message{kind: kindExtend, epoch: 7, since: at(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	change := func(i int, b byte) []byte {
		out := bytes.Clone(good)
		out[i] = b
		return out
	}
	longer := append(bytes.Clone(good), 0)
	binary.BigEndian.PutUint32(longer, uint32(len(longer)-frameHead))
	for name, b := range map[string][]byte{
		"another version":  change(4, 9),
		"unknown kind":     change(5, 99),
		"too long":         {0xff, 0xff, 0xff, 0xff},
		"no kind":          {0, 0, 0, 1, wireVersion},
		"bytes left over":  longer,
		"count of daemons": {0, 0, 0, 9, wireVersion, byte(kindVoters), 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			in := frames{buf: b}
			if m, ok, err := in.next(); err == nil {
				t.Errorf("next(%x) = %+v, %v, want an error", b, m, ok)
			}
		})
	}
	big := message{kind: kindLine, text: strings.Repeat("x", maxFrame)}
	if b, err := appendFrame([]byte("kept"), &big); err == nil || string(b) != "kept" {
		t.Errorf("a message that is too long: %v, and %d bytes", err, len(b))
	}
}

func FuzzParseMessage(f *testing.F) {
	for _, m := range messages() {
		b, err := appendFrame(nil, &m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[frameHead:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			return
		}
		again, err := appendFrame(nil, &m)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		m2, err := parseMessage(again[frameHead:])
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if diff := cmp.Diff(m, m2, compareMessages); diff != "" {
			t.Fatalf("-first +second\n%s", diff)
		}
	})
}

// voter is a cluster port that answers tickets.
type voter struct {
	addr   string
	came   chan []byte
	asked  atomic.Int64
	answer func(n int64) string // to the n-th ticket, from 1; empty: the connection is closed without
}

func newVoter(t *testing.T, answer func(n int64) string) *voter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &voter{addr: l.Addr().String(), came: make(chan []byte, 1000), answer: answer}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			v.serve(c)
		}
	}()
	return v
}

func (v *voter) serve(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	var head [3]byte
	if _, err := io.ReadFull(c, head[:]); err != nil || head[0] != 'T' {
		return
	}
	payload := make([]byte, binary.BigEndian.Uint16(head[1:]))
	if _, err := io.ReadFull(c, payload); err != nil {
		return
	}
	text := v.answer(v.asked.Add(1))
	v.came <- payload
	if text != "" {
		c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(text))), text...))
	}
}

func TestSpreadTicket(t *testing.T) {
	t.Run("repeated until applied", func(t *testing.T) {
		t.Parallel()
		later := newVoter(t, func(n int64) string { return []string{"", "later", "L", "applied"}[min(n, 4)-1] })
		if !spreadTicket(t.Context(), []string{"127.0.0.1:1", later.addr}, []byte("ticket")) {
			t.Error("the ticket was not applied")
		}
		if n := later.asked.Load(); n != 4 {
			t.Errorf("the voter was asked %d times, want 4", n)
		}
		if got := <-later.came; string(got) != "ticket" {
			t.Errorf("the voter got %q", got)
		}
	})
	t.Run("a silent voter holds up nobody", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		good := newVoter(t, func(int64) string { return "A" })
		began := time.Now()
		if !spreadTicket(t.Context(), []string{l.Addr().String(), good.addr}, []byte("ticket")) || time.Since(began) > ticketWait {
			t.Errorf("applied only after %v", time.Since(began))
		}
	})
	t.Run("ends with its time", func(t *testing.T) {
		t.Parallel()
		refuses := newVoter(t, func(int64) string { return "R" })
		ctx, cancel := context.WithTimeout(t.Context(), 350*time.Millisecond)
		defer cancel()
		if spreadTicket(ctx, []string{refuses.addr}, []byte("ticket")) {
			t.Error("a refused ticket counts as applied")
		}
		if n := refuses.asked.Load(); n < 2 {
			t.Errorf("asked %d times, want it repeated", n)
		}
	})
	if spreadTicket(t.Context(), nil, []byte("ticket")) {
		t.Error("applied by nobody")
	}
}

func TestStateNames(t *testing.T) {
	b, err := Running.MarshalText()
	if string(b) != "running" || err != nil || State(99).String() != "unknown" || reason(99).String() != "unknown" {
		t.Errorf("Running is %q, %v; State(99) is %q", b, err, State(99))
	}
}
