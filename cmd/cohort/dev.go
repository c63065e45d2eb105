package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/cohortd/cohort/api"
	"github.com/cohortd/cohort/cluster"
	"github.com/cohortd/cohort/daemons"
)

// devIni is what the three nodes of `cohort dev` run; the rest is given on their command lines.
//
//go:embed dev.ini
var devIni string

func devCommand() *cobra.Command {
	var d dev
	cmd := &cobra.Command{
		Use: "dev", Short: "Three real nodes on this machine, with commands to try", Args: exactly(0),
		Long: `Starts three node processes on 127.0.0.1 with temporary data, one request limit over all three and one
daemon that only the lord runs. It prints what runs where and what to try, and follows the log.
Ctrl-C stops all of it and leaves nothing behind.`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if d.self, err = os.Executable(); err != nil {
				return err
			}
			d.screen = newScreen(cmd.OutOrStdout())
			d.memcached, _ = exec.LookPath("memcached") // without it there is a stand-in
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().DurationVar(&d.restartAfter, "restart-after", 15*time.Second, "how long a node that was killed stays away")
	cmd.Flags().BoolVar(&d.debug, "log-debug", false, "follow why things happen too, not only what")
	cmd.SetHelpTemplate(`{{.Long}}

Usage:
  {{.UseLine}}

Flags:
{{.LocalNonPersistentFlags.FlagUsages}}`)
	return cmd
}

// dev is one run of `cohort dev`.
type dev struct {
	self         string // this binary
	memcached    string // where it is, "" for our own stand-in
	restartAfter time.Duration
	debug        bool
	screen       *screen
	dir          string // everything it leaves on disk until it ends
	nodes        []*devNode
}

// settleWithin is how long the three nodes may take to come together.
const settleWithin = time.Minute

func (d *dev) run(ctx context.Context) (err error) {
	began := time.Now()
	// A second Ctrl-C must not end this process before the nodes: they would stay.
	again := make(chan os.Signal, 1)
	signal.Notify(again, endSignals()...)
	defer signal.Stop(again)

	if d.dir, err = os.MkdirTemp("", "cohort-dev-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	block, err := d.prepare()
	if err != nil {
		return err
	}
	defer block.Close()
	defer func() { err = errors.Join(err, d.sweep(ctx)) }()

	ctx, end := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer func() {
		end(nil)
		d.waitPatiently(&wg, again)
	}()
	d.screen.say("three nodes start; what they keep is in %s\n", d.dir)
	for _, n := range d.nodes {
		wg.Go(func() {
			if err := d.keep(ctx, n); err != nil {
				end(err)
			}
		})
	}
	if waitFor(ctx, settleWithin, func() bool { return d.settled(ctx) }) == nil {
		d.screen.say("%s", d.welcome(ctx, time.Since(began)))
		<-ctx.Done()
	} else if ctx.Err() == nil {
		return fmt.Errorf("the three nodes did not come together within %s; their log above says why", settleWithin)
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	d.screen.say("\nstopping: daemons, then nodes, then what they kept\n")
	return nil
}

// waitPatiently waits for the nodes to end. It is bounded by killWithin.
func (d *dev) waitPatiently(wg *sync.WaitGroup, again <-chan os.Signal) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		wg.Wait()
	}()
	told := false
	for {
		select {
		case <-gone:
			return
		case <-again:
			if told { // the first one is what ends us
				d.screen.say("still stopping; a node that takes longer than %s is killed\n", killWithin)
			}
			told = true
		}
	}
}

// prepare chooses ports and writes the files the nodes read. The ports are ours until block is closed.
func (d *dev) prepare() (block io.Closer, err error) {
	if err := os.Symlink(d.self, filepath.Join(d.dir, "cohort")); err != nil {
		return nil, err
	}
	for _, file := range []struct {
		name, text string
	}{{"dev.ini", devIni}, {"secret", cluster.NewSecret() + "\n"}} {
		if err := os.WriteFile(filepath.Join(d.dir, file.name), []byte(file.text), 0o600); err != nil {
			return nil, err
		}
	}
	for i, valor := range []int{30, 20, 10} {
		n := &devNode{name: fmt.Sprintf("n%d", i+1), valor: valor}
		n.data = filepath.Join(d.dir, n.name)
		d.nodes = append(d.nodes, n)
	}
	return takePorts(d.nodes)
}

// takePorts gives the nodes the first free ones of 7401 and on, 8081 and on, 11311 and on, or those ten
// higher, and so on. Another `cohort dev` sees by a socket without a file that they are taken, before any
// node listens.
func takePorts(nodes []*devNode) (block io.Closer, err error) {
	for shift := 0; shift < 1000; shift += 10 {
		taken, err := net.Listen("unix", fmt.Sprintf("@cohort-dev-%d", 7401+shift))
		if err != nil {
			continue
		}
		free := true
		for i, n := range nodes {
			for addr, port := range map[*string]int{&n.gossip: 7401, &n.http: 8081, &n.cache: 11311} {
				*addr = fmt.Sprintf("127.0.0.1:%d", port+shift+i)
				free = free && isFree(*addr)
			}
		}
		if free {
			return taken, nil
		}
		taken.Close()
	}
	return nil, errors.New("no free ports on 127.0.0.1: 7401 to 8393, 8081 to 9073 and 11311 to 12303 were tried")
}

func isFree(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	p.Close()
	return true
}

// settled says that every node knows all three, the lord and its daemon run, and the limit can be asked.
func (d *dev) settled(ctx context.Context) bool {
	running := false
	for _, n := range d.nodes {
		s, err := n.status(ctx)
		if err != nil || len(s.Members) != len(d.nodes) || len(leaderless(s))+len(lordless(s)) > 0 || len(s.Caches) == 0 {
			return false
		}
		for _, one := range s.Daemons {
			running = running || one.State == daemons.Running.String()
		}
		conn, err := net.DialTimeout("tcp", n.http, time.Second)
		if err != nil {
			return false
		}
		conn.Close()
	}
	return running
}

// waitFor asks until ok, ctx ends, or the time is up.
func waitFor(ctx context.Context, most time.Duration, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// welcome is what a newcomer reads: what runs where, and what to try. Every command is one line, indented
// by six, that works as it stands.
func (d *dev) welcome(ctx context.Context, took time.Duration) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "\nready after %.1f s. Ctrl-C stops all of it and leaves nothing behind.\n\n", took.Seconds())
	fmt.Fprintf(&b, "  %-6s%-8s%-18s%-26s%s\n", "NODE", "VALOR", "CLUSTER", "HTTP", "PID")
	lord, other := d.nodes[0], d.nodes[len(d.nodes)-1]
	daemon, ports := "", []string{}
	for _, n := range d.nodes {
		note := ""
		if s, err := n.status(ctx); err == nil && len(s.Legions) > 0 && s.Legions[0].IsLord {
			lord, note = n, "lord"
			for _, one := range s.Daemons {
				daemon = one.Name
				note += fmt.Sprintf(", runs %s (pid %d)", one.Name, one.PID)
			}
		}
		row := fmt.Sprintf("  %-6s%-8d%-18s%-26s%-8d%s", n.name, n.valor, n.gossip, "http://"+n.http, n.pid(), note)
		fmt.Fprintln(&b, strings.TrimRight(row, " "))
		_, port, _ := net.SplitHostPort(n.http) // our own, well formed
		ports = append(ports, port)
	}
	if lord == other {
		other = d.nodes[0]
	}
	if d.memcached == "" {
		fmt.Fprintf(&b, "\n  memcached is not installed: the lord runs a small daemon of cohort's own in its place\n")
	}
	cohort := quoted(filepath.Join(d.dir, "cohort"))
	fmt.Fprintf(&b, `
Try, in another terminal:

  Flood the limit: 15 requests over the three nodes. 10 pass, then 503, for 30 s.
      curl -s -o /dev/null -w '%%{http_code} ' 'http://127.0.0.1:{%s}/[1-5]'

  Look, from any node:
      %s status --data %s

  Count, exact over all nodes:
      %s cache inc visits --data %s

  Hand over in peace: another node runs %s. After the second command %s takes it back in 10 s.
      %s drain --data %s
      %s drain --off --data %s

  Kill the lord: another node runs %s within two seconds. %s comes back after %s, and rules 10 s later.
      kill -9 %d

The log goes on here:

`, strings.Join(ports, ","), cohort, quoted(other.data), cohort, quoted(other.data),
		daemon, lord.name, cohort, quoted(lord.data), cohort, quoted(lord.data),
		daemon, lord.name, d.restartAfter, lord.pid())
	return b.String()
}

// sweep ends what nodes that were killed left running, which may take a moment longer than they.
func (d *dev) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killWithin)
	defer cancel()
	var errs []error
	for _, n := range d.nodes {
		_, err := daemons.Sweep(ctx, filepath.Join(n.data, "guardians"), d.self, slog.New(slog.DiscardHandler))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// quoted is a word as a shell reads it.
func quoted(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+=:,@", r)
	}
	if word != "" && strings.TrimLeftFunc(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// devDaemonCommand is the lord's daemon of `cohort dev` where memcached is not installed: it says that it
// lives, and does nothing else.
func devDaemonCommand() *cobra.Command {
	return &cobra.Command{
		Use: "dev-daemon", Hidden: true, Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			tick := time.NewTicker(time.Minute)
			defer tick.Stop()
			for {
				fmt.Fprintf(cmd.OutOrStdout(), "a stand-in for memcached: legion %s, node %s, epoch %s\n",
					os.Getenv("COHORT_LEGION"), os.Getenv("COHORT_NODE"), os.Getenv("COHORT_EPOCH"))
				select {
				case <-tick.C:
				case <-cmd.Context().Done():
					return nil
				}
			}
		},
	}
}

func (n *devNode) status(ctx context.Context) (api.Status, error) {
	return api.NewClient(n.data).Status(ctx)
}
