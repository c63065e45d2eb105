package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/cohortd/cohort/api"
)

func TestNumbersLast(t *testing.T) {
	for args, want := range map[string]string{
		"cache inc k 5":                        "cache inc k 5",
		"cache inc k -5":                       "cache inc -- k -5",
		"cache inc k -5 --json":                "cache inc --json -- k -5",
		"cache --data -7 inc k -5":             "cache inc --data -7 -- k -5",
		"--data d cache inc --name=c k -5":     "cache inc --data d --name=c -- k -5",
		"cache inc -5 -6":                      "cache inc -- -5 -6",
		"cache inc -- -5 -6 --json":            "cache inc -- -5 -6 --json",
		"cache set k - -5":                     "cache set -- k - -5",
		"cache inc k -5x":                      "cache inc k -5x",
		"cache inc k -99999999999999999999999": "cache inc k -99999999999999999999999",
		"cache -5":                             "cache -- -5",
		"-5":                                   "-- -5",
		"run a.ini --legion-quorum -5":         "run a.ini --legion-quorum -5",
		"nosuch -5":                            "-- nosuch -5",
	} {
		got := strings.Join(numbersLast(commands(), strings.Fields(args)), " ")
		if got != want {
			t.Errorf("numbersLast(%q) = %q, want %q", args, got, want)
		}
	}
}

func TestExitCode(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want int
	}{
		"done":                {nil, 0},
		"failed":              {errors.New("no"), 1},
		"usage":               {usageError{errors.New("no")}, 2},
		"usage, wrapped":      {fmt.Errorf("x: %w", errors.Join(nil, newMistakes("f", errors.New("no")))), 2},
		"the node refused it": {&api.Error{Kind: api.BadRequest}, 2},
		"nobody answers":      {&api.Error{Kind: api.Unreachable}, 3},
		"no quorum":           {&api.Error{Kind: api.NoQuorum}, 4},
		"conflict":            {&api.Error{Kind: api.Conflict}, 1},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("%s: exitCode(%v) = %d, want %d", name, tt.err, got, tt.want)
		}
	}
}

func TestMistakes(t *testing.T) {
	err := newMistakes("a.ini", errors.Join(errors.New("a.ini:1: b"), errors.Join(errors.New("a.ini:2: c\nd"), errors.New("e"))))
	want := "a.ini:1: b\na.ini:2: c; d\ne\na.ini: 3 mistakes"
	if err.Error() != want {
		t.Errorf("newMistakes = %q, want %q", err, want)
	}
}

// TestStatusPage shows what an operator sees of a cluster, healthy and not.
func TestStatusPage(t *testing.T) {
	var out bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetOut(&out)
	status := api.Status{
		Node: "n1", PID: 4711, Version: "v1", Boot: 2, Uptime: 61 * time.Second, HTTP: []string{":8080", "/run/http.sock"}, Cluster: "c-id", Draining: true,
		Members: []api.Member{
			{Name: "n1", ID: "id-1", Address: "10.0.0.1:7400", Alive: true, Self: true, Role: "voter", Boot: 2},
			{Name: "longer-name", ID: "id-2", Address: "10.0.0.2:7400", Role: "client", Boot: 11},
		},
		Groups: []api.Group{{Name: "control", Voters: []string{"n1", "n3"}, Term: 7, Applied: 1234}},
		Legions: []api.Legion{
			{
				Name: "web", Lord: "n1", IsLord: true, Epoch: 12, ValidFor: 3210987 * time.Microsecond, Votes: 2, Quorum: 2,
				Members: []api.LegionMember{{Node: "n2", Arbiter: true, Vote: "n1"}, {Node: "n1", Valor: 100, Draining: true}},
			},
			{Name: "mail", Reason: "1 votes for n1, and the quorum is 2"},
			{Name: "cron", Lord: "n2", Epoch: 13, Votes: 1, Quorum: 1},
		},
		Daemons: []api.Daemon{{Name: "memcached", Legion: "web", Epoch: 12, Command: "memcached -l 10.0.0.1", State: "running", PID: 99}, {Name: "own", State: "backoff", Restarts: 3, Command: "own"}},
		Caches:  []api.Cache{{Name: "limiter", Scope: "cluster", Items: 5, Limit: 100}},
	}
	if err := new(client).show(cmd, status, func(w io.Writer) { printStatus(w, status) }); err != nil {
		t.Fatal(err)
	}
	want := `node n1  draining, up 1m1s, start 2, pid 4711, cohort v1
cluster  c-id
http     :8080 /run/http.sock

NODE           ADDRESS        STATE  ROLE    STARTS  ID
n1 (this one)  10.0.0.1:7400  alive  voter   2       id-1
longer-name    10.0.0.2:7400  dead   client  11      id-2

GROUP    LEADER  VOTERS  FOLLOWERS  TERM  ENTRIES  OPS  BATCHES
control  -       n1 n3   -          7     1234     0    0

legion web: this node is lord, epoch 12, valid for 3.211s; 2 votes, quorum 2
NODE  VALOR  VOTES FOR  NOTE
n1    100    -          lord, draining
n2    0      n1         arbiter

legion mail: no lord: 1 votes for n1, and the quorum is 2
NODE  VALOR  VOTES FOR  NOTE

legion cron: n2 is lord, epoch 13; 1 vote, quorum 1
NODE  VALOR  VOTES FOR  NOTE

DAEMON     STATE    FOR  PID  LEGION  EPOCH  RESTARTS  COMMAND
memcached  running  -    99   web     12     0         memcached -l 10.0.0.1
own        backoff  -    -    -       -      3         own

CACHE    SCOPE    ITEMS  LIMIT
limiter  cluster  5      100
`
	if out.String() != want {
		t.Errorf("the page is\n%s\nwant\n%s", &out, want)
	}
	if got, want := fmt.Sprint(append(leaderless(status), lordless(status)...)), "[group control has no leader: more than half of its voters must run and reach each other legion mail has no lord: 1 votes for n1, and the quorum is 2]"; got != want {
		t.Errorf("what is unled: %s, want %s", got, want)
	}
}

func TestFollower(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"facts in their order, the node in front": {
			`{"time":"2026-01-02T03:04:05.678Z","level":"INFO","msg":"lord changed","node":"n1","legion":"dev","lord":"","epoch":5}` + "\n",
			"03:04:05.678 n1  lord changed  legion=dev  lord=\"\"  epoch=5\n",
		},
		"warnings are marked": {
			`{"time":"2026-01-02T03:04:05Z","level":"WARN","msg":"no quorum","err":"a b"}` + "\n",
			"03:04:05.000 n1  WARN no quorum  err=\"a b\"\n",
		},
		"keys of the log itself come first": {
			`{"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"moved","node":"n1","node":"n2","time":"1s","level":3,"msg":"x"}` + "\n",
			"03:04:05.000 n1  moved  node=n2  time=1s  level=3  msg=x\n",
		},
		"lists and numbers": {
			`{"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"a","voters":["n1","n 2"],"big":9223372036854775807,"no":null,"yes":true}` + "\n",
			"03:04:05.000 n1  a  voters=n1,\"n 2\"  big=9223372036854775807  no=<nil>  yes=true\n",
		},
		"output of a daemon": {
			`{"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"daemon output","legion":"dev","daemon":"memcached","stream":"stderr","line":"\u001b[2J"}` + "\n",
			"03:04:05.000 n1  memcached | \"\\x1b[2J\"\n",
		},
		"what is no log is shown as it is": {"panic: no\n\n{\n{\"a\":1}\n", "             n1  panic: no\n             n1  {\n             n1  {\"a\":1}\n"},
		"no line feed at the end":          {"half", "             n1  half\n"},
		"nothing":                          {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, piece := range []int{1, 7, 4096} {
				var out bytes.Buffer
				f := &follower{node: "n1", screen: newScreen(&out)}
				for rest := tt.in; rest != ""; rest = rest[min(piece, len(rest)):] {
					if _, err := f.Write([]byte(rest[:min(piece, len(rest))])); err != nil {
						t.Fatal(err)
					}
				}
				f.flush()
				if out.String() != tt.want {
					t.Errorf("in pieces of %d it shows\n%s\nwant\n%s", piece, &out, tt.want)
				}
			}
		})
	}
}

func TestFollowerKeepsTheLastLines(t *testing.T) {
	f := &follower{node: "n1", screen: newScreen(new(bytes.Buffer))}
	for i := range 3 * mostSaid {
		fmt.Fprintf(f, "line %d\n", i)
	}
	if len(f.said) != mostSaid || f.said[mostSaid-1] != fmt.Sprintf("line %d", 3*mostSaid-1) {
		t.Errorf("kept %d lines up to %q", len(f.said), f.said[len(f.said)-1])
	}
	if _, err := f.Write(bytes.Repeat([]byte("a"), longest+1)); err != nil || len(f.half) > 0 {
		t.Errorf("a line without an end: %v, %d bytes kept", err, len(f.half))
	}
}

func TestColours(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("no pseudo terminal here: ", err)
	}
	defer terminal.Close()
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if s := newScreen(terminal); !s.colours || s.paint("n1") == s.paint("n2") || !strings.Contains(s.paint("n1"), "n1\x1b[0m") {
		t.Errorf("on a terminal n1 is %q, n2 is %q", s.paint("n1"), s.paint("n2"))
	}
	if s := newScreen(new(bytes.Buffer)); s.paint("n1") != "n1" {
		t.Errorf("in a file n1 is %q", s.paint("n1"))
	}
	t.Setenv("NO_COLOR", "1")
	if s := newScreen(terminal); s.paint("n1") != "n1" {
		t.Errorf("with NO_COLOR n1 is %q", s.paint("n1"))
	}
}

func TestQuoted(t *testing.T) {
	for word, want := range map[string]string{"/tmp/a-b_c.1": "/tmp/a-b_c.1", "a b": "'a b'", "it's": `'it'\''s'`, "": "''", "$x": "'$x'", "%": "'%'"} {
		if got := quoted(word); got != want {
			t.Errorf("quoted(%q) = %s, want %s", word, got, want)
		}
	}
}
