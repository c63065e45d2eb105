package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cohortd/cohort/api"
	"github.com/cohortd/cohort/cluster"
)

// devIni is what the three nodes of `cohort dev` run; the rest is given on their command lines.
//
//go:embed dev.ini
var devIni string

func devCommand() *cobra.Command {
	return &cobra.Command{
		Use: "dev", Short: "Three real nodes on this machine, with commands to try", Args: exactly(0),
		Long: `Starts three node processes on 127.0.0.1 with temporary data, one request limit over all three and one
daemon that only the lord runs. It prints what runs where and what to try, and follows the log.
Ctrl-C stops all of it and leaves nothing behind.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &dev{out: cmd.OutOrStdout(), began: time.Now()}
			return d.run(cmd.Context())
		},
	}
}

// dev is one run of `cohort dev`.
type dev struct {
	out   io.Writer
	began time.Time
	self  string // this binary
	dir   string // everything it leaves on disk until it ends
	cache string // memcached, or our own stand-in
	nodes []*devNode

	mu sync.Mutex // one line at a time on out
}

// devNode is one of the three.
type devNode struct {
	name                string
	valor               int
	gossip, http, cache string // addresses
	data                string
	proc                *exec.Cmd
}

// restartAfter is how long a node that was killed stays away: long enough to watch the others go on.
const restartAfter = 15 * time.Second

func (d *dev) run(ctx context.Context) (err error) {
	if d.self, err = os.Executable(); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "cohort-dev-"); err != nil {
		return err
	}
	defer os.RemoveAll(d.dir)
	if err := d.prepare(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for _, n := range d.nodes {
		wg.Go(func() { d.keep(ctx, n) })
	}
	if err := waitFor(ctx, time.Minute, func() bool { return d.settled(ctx) }); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return errors.New("the three nodes did not come together within a minute; their log above says why")
	}
	d.welcome(ctx)
	<-ctx.Done()
	d.say("\nstopping: the lord hands over, daemons stop, the data is removed\n")
	return nil
}

// prepare chooses ports and writes the files the nodes read.
func (d *dev) prepare() error {
	if err := os.Symlink(d.self, filepath.Join(d.dir, "cohort")); err != nil {
		return err
	}
	for _, file := range []struct {
		name, text string
	}{{"dev.ini", devIni}, {"secret", cluster.NewSecret() + "\n"}} {
		if err := os.WriteFile(filepath.Join(d.dir, file.name), []byte(file.text), 0o600); err != nil {
			return err
		}
	}
	d.cache = found("memcached")
	for i, valor := range []int{30, 20, 10} {
		n := &devNode{name: fmt.Sprintf("n%d", i+1), valor: valor}
		n.data = filepath.Join(d.dir, n.name)
		var err error
		for addr, want := range map[*string]int{&n.gossip: 7401 + i, &n.http: 8081 + i, &n.cache: 11311 + i} {
			if *addr, err = freeAddr(want); err != nil {
				return err
			}
		}
		d.nodes = append(d.nodes, n)
	}
	return nil
}

// freeAddr is the wanted port of 127.0.0.1 when nobody has it, else any other.
func freeAddr(want int) (string, error) {
	for _, port := range []int{want, 0} {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			defer l.Close()
			return l.Addr().String(), nil
		}
	}
	return "", errors.New("no free port on 127.0.0.1")
}

func (d *dev) arguments(n *devNode) []string {
	var others []string
	for _, o := range d.nodes {
		others = append(others, o.gossip)
	}
	daemon := d.self + " dev-daemon"
	if d.cache != "" {
		host, port, _ := net.SplitHostPort(n.cache) // our own, well formed
		daemon = fmt.Sprintf("%s -u nobody -l %s -p %s -m 16", d.cache, host, port)
		if os.Geteuid() != 0 {
			daemon = fmt.Sprintf("%s -l %s -p %s -m 16", d.cache, host, port)
		}
	}
	return []string{
		"run", filepath.Join(d.dir, "dev.ini"), "--log-json", "--node", n.name, "--data", n.data,
		"--cluster", n.gossip, "--cluster-join", strings.Join(others, ","), "--cluster-secret-file", filepath.Join(d.dir, "secret"),
		"--http-socket", n.http,
		"--legion", fmt.Sprintf("dev %d bf-cbc:%s", n.valor, "dev-legion"), "--legion-attach-daemon", "dev " + daemon,
	}
}

// keep runs one node, and starts it again when it was killed.
func (d *dev) keep(ctx context.Context, n *devNode) {
	for ctx.Err() == nil {
		err := d.once(ctx, n)
		if ctx.Err() != nil {
			return
		}
		d.say("%s  ended (%v); it starts again in %s\n", paint(n.name), err, restartAfter)
		select {
		case <-time.After(restartAfter):
		case <-ctx.Done():
		}
	}
}

func (d *dev) once(ctx context.Context, n *devNode) error {
	cmd := exec.CommandContext(ctx, d.self, d.arguments(n)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	// A Ctrl-C of the terminal goes to the whole group. The nodes are to hear it from us, once.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	d.mu.Lock()
	n.proc = cmd
	d.mu.Unlock()
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if text := readable(lines.Bytes()); text != "" {
			d.say("%s  %s\n", paint(n.name), text)
		}
	}
	_, _ = io.Copy(io.Discard, log) // a line too long to show must not block the node
	return cmd.Wait()
}

// settled says that every node knows all three, the lord and its daemon run, and the limit can be asked.
func (d *dev) settled(ctx context.Context) bool {
	daemon := false
	for _, n := range d.nodes {
		s, err := api.NewClient(n.data).Status(ctx)
		if err != nil || len(s.Members) != len(d.nodes) || len(leaderless(s)) > 0 || len(s.Caches) == 0 {
			return false
		}
		for _, one := range s.Daemons {
			daemon = daemon || one.State == "running"
		}
		conn, err := net.DialTimeout("tcp", n.http, time.Second)
		if err != nil {
			return false
		}
		conn.Close()
	}
	return daemon
}

func (d *dev) welcome(ctx context.Context) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "\nthree nodes are ready after %.1f s; everything they keep is in %s until you press Ctrl-C\n\n", time.Since(d.began).Seconds(), d.dir)
	fmt.Fprintf(&b, "  %-5s %-6s %-17s %-24s %-8s %s\n", "NODE", "VALOR", "CLUSTER", "HTTP", "PID", "")
	lord := d.nodes[0]
	for _, n := range d.nodes {
		note := ""
		if s, err := api.NewClient(n.data).Status(ctx); err == nil && len(s.Legions) > 0 && s.Legions[0].IsLord {
			lord, note = n, "lord: runs "
			for _, one := range s.Daemons {
				note += fmt.Sprintf("%s (pid %d)", one.Name, one.PID)
			}
		}
		d.mu.Lock()
		fmt.Fprintf(&b, "  %-5s %-6d %-17s %-24s %-8d %s\n", n.name, n.valor, n.gossip, "http://"+n.http, n.proc.Process.Pid, note)
		d.mu.Unlock()
	}
	if d.cache == "" {
		fmt.Fprintf(&b, "\n  memcached is not installed, so the lord runs a small daemon of cohort's own instead\n")
	}
	var urls []string
	for _, n := range d.nodes {
		urls = append(urls, "http://"+n.http+"/")
	}
	var other *devNode
	for _, n := range d.nodes {
		if n != lord {
			other = n
		}
	}
	cohort := filepath.Join(d.dir, "cohort")
	fmt.Fprintf(&b, `
try, in another terminal:
  flood the limit (10 in 30 s for each address, over all three nodes):
      for i in 1 2 3 4 5; do for url in %s; do curl -s -o /dev/null -w '%%{http_code} ' $url; done; done; echo
  kill the lord, and see its daemon move (the node comes back after %s, and rules again 10 s later):
      kill -9 %d
  ask:
      %s status --data %s
      %s cache inc visits --data %s
  hand over by hand:
      %s drain --data %s

`, strings.Join(urls, " "), restartAfter, lord.proc.Process.Pid, cohort, other.data, cohort, other.data, cohort, lord.data)
	d.say("%s", b.String())
}

func (d *dev) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, format, args...)
}

// readable turns a line of a node's log into one for people: time, message, facts.
func readable(line []byte) string {
	var rec map[string]any
	if json.Unmarshal(line, &rec) != nil {
		return string(line)
	}
	at, _ := time.Parse(time.RFC3339Nano, fmt.Sprint(rec["time"])) // shown as 00:00:00 when it is not there
	text := fmt.Sprintf("%s %v", at.Format("15:04:05.000"), rec["msg"])
	if level := rec["level"]; level != "INFO" {
		text = fmt.Sprintf("%s %v %v", at.Format("15:04:05.000"), level, rec["msg"])
	}
	if rec["msg"] == "daemon output" {
		return fmt.Sprintf("%s %v: %v", at.Format("15:04:05.000"), rec["daemon"], rec["line"])
	}
	var keys []string
	for k := range rec {
		if k != "time" && k != "level" && k != "msg" && k != "node" {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	for _, k := range keys {
		text += fmt.Sprintf("  %s=%v", k, rec[k])
	}
	return text
}

// paint gives each node its colour, where out may show colours.
func paint(name string) string {
	if info, err := os.Stdout.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 || os.Getenv("NO_COLOR") != "" {
		return name
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", 31+int(name[len(name)-1]-'0'), name)
}
