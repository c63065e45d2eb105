package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cohortd/cohort/api"
	"github.com/cohortd/cohort/cachefsm/cache"
	"github.com/cohortd/cohort/cachefsm/op"
	"github.com/cohortd/cohort/cluster"
)

// cohort is three real nodes, and clients that speak the port's own frames over TLS.
type cohort struct {
	dir   string
	addrs []string
	cmds  []*exec.Cmd
	peers []*cluster.Peer
	seq   []atomic.Uint64 // of each client
}

const benchSecret = "this secret is for the benchmark on loopback only"

func startCohort(ctx context.Context, dir string, wal bool) (*cohort, error) {
	c := &cohort{dir: dir}
	binary := filepath.Join(dir, "cohort")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./cmd/cohort")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build cohort: %w: %s", err, out)
	}
	log := "bolt"
	if wal {
		log = "wal"
	}
	ini := fmt.Sprintf("[cohort]\ncluster-expect = 3\ncluster-secret = %s\nraft-log = %s\ncache2 = name=bench,items=100000,blocksize=8\n", benchSecret, log)
	if err := os.WriteFile(filepath.Join(dir, "node.ini"), []byte(ini), 0o600); err != nil {
		return nil, err
	}
	for range 3 {
		c.addrs = append(c.addrs, freeAddr())
	}
	for i, addr := range c.addrs {
		cmd := exec.CommandContext(ctx, binary, "run", filepath.Join(dir, "node.ini"), "--node", fmt.Sprintf("b%d", i),
			"--data", c.data(i), "--cluster", addr, "--cluster-join", strings.Join(c.addrs, ","))
		out, err := os.Create(filepath.Join(dir, fmt.Sprintf("log%d", i)))
		if err != nil {
			return nil, err
		}
		defer out.Close()
		cmd.Stderr = out
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		c.cmds = append(c.cmds, cmd)
	}
	return c, c.ready(ctx)
}

func (c *cohort) data(i int) string { return filepath.Join(c.dir, fmt.Sprintf("data%d", i)) }

func (c *cohort) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		ok := 0
		for i := range c.addrs {
			s, err := api.NewClient(c.data(i)).Status(ctx)
			if err == nil && len(s.Caches) == 1 && len(s.Groups) == 2 && s.Groups[0].Leader != "" && s.Groups[1].Leader != "" {
				ok++
			}
		}
		if ok == len(c.addrs) {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("three nodes did not come together; their logs are in %s", c.dir)
}

// connect opens n connections, spread over the three nodes, each a client of its own.
func (c *cohort) connect(ctx context.Context, n int) error {
	keys, err := cluster.DeriveKeys(benchSecret, "", "cohort")
	if err != nil {
		return err
	}
	c.seq = make([]atomic.Uint64, n)
	for i := range n {
		p, err := cluster.DialPeer(ctx, c.addrs[i%3], keys, fmt.Sprintf("00000000-0000-4000-8000-%012x", i))
		if err != nil {
			return err
		}
		c.peers = append(c.peers, p)
	}
	return nil
}

// What a node takes a forwarded chunk under (node/wiring.go), and the flag with which one that does not
// lead passes it on.
const (
	applyFrame cluster.FrameKind = 20
	relay                        = 1
	noLeader                     = 1 // the first byte of an answer by who cannot pass it on now
)

// inc adds one to a number, by caller i, and waits until it is agreed.
func (c *cohort) inc(ctx context.Context, i int, key string) error {
	client := fmt.Sprintf("bench-%d", i)
	chunk := op.Bytes(op.ChunkHead([]byte{relay}, client, c.seq[i].Add(1), 1), cache.Math("bench", key, cache.Inc, 1, 0))
	for {
		b, err := c.peers[i].Call(ctx, applyFrame, chunk)
		if err != nil {
			return err
		}
		if len(b) == 2 && b[0] == noLeader { // an election: the same chunk again, which is applied once
			time.Sleep(10 * time.Millisecond)
			continue
		}
		r, ok := op.ParseResults(nil, b[min(1, len(b)):], 1)
		if !ok || len(r) != 1 || r[0].Code != op.OK {
			return fmt.Errorf("the node answered % x", b)
		}
		return nil
	}
}

func (c *cohort) stop() {
	for _, p := range c.peers {
		p.Close()
	}
	for _, cmd := range c.cmds {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
