package cachefsm

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/cohortd/cohort/cachefsm/cache"
	"github.com/cohortd/cohort/cachefsm/op"
)

// tcp is raft's streams over loopback, and frames over one connection a peer: what cluster does, without TLS.
type tcp struct {
	net.Listener
	b  *tcpBook
	id string
}

type tcpBook struct {
	mu    sync.Mutex
	addrs map[string]string
	group map[string]*Group
	links map[string]*tcpLink
}

func (t *tcp) Dial(id string, timeout time.Duration) (net.Conn, error) {
	t.b.mu.Lock()
	addr := t.b.addrs[id]
	t.b.mu.Unlock()
	return net.DialTimeout("tcp", addr, timeout)
}

// Call sends a frame over a real connection to the other node's echo and hands it over there.
func (t *tcp) Call(ctx context.Context, to string, kind uint8, payload []byte) ([]byte, error) {
	l, err := t.b.link(t.id, to)
	if err != nil {
		return nil, err
	}
	return l.call(ctx, kind, payload)
}

// tcpLink is one connection from one node to another; calls are told apart by a number.
type tcpLink struct {
	mu      sync.Mutex
	c       net.Conn
	next    uint32
	waiting map[uint32]chan []byte
}

func (b *tcpBook) link(from, to string) (*tcpLink, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := from + ">" + to
	if l := b.links[key]; l != nil {
		return l, nil
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	far, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	l := &tcpLink{c: near, waiting: map[uint32]chan []byte{}}
	b.links[key] = l
	go serveLink(far, b.group[to])
	go l.read()
	return l, nil
}

func writeFrame(mu *sync.Mutex, c net.Conn, id uint32, kind uint8, payload []byte) error {
	b := make([]byte, 9, 9+len(payload))
	binary.BigEndian.PutUint32(b, uint32(len(payload)))
	binary.BigEndian.PutUint32(b[4:], id)
	b[8] = kind
	mu.Lock()
	defer mu.Unlock()
	_, err := c.Write(append(b, payload...))
	return err
}

func readFrame(r io.Reader) (id uint32, kind uint8, payload []byte, err error) {
	var head [9]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return 0, 0, nil, err
	}
	payload = make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err = io.ReadFull(r, payload)
	return binary.BigEndian.Uint32(head[4:]), head[8], payload, err
}

func serveLink(c net.Conn, g *Group) {
	var mu sync.Mutex
	for {
		id, kind, payload, err := readFrame(c)
		if err != nil {
			return
		}
		go func() {
			handle := map[uint8]func(context.Context, string, []byte) ([]byte, error){kinds.Apply: g.HandleApply, kinds.Read: g.HandleRead, kinds.Term: g.HandleTerm}[kind]
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if b, err := handle(ctx, "", payload); err == nil {
				_ = writeFrame(&mu, c, id, kind, b)
			}
		}()
	}
}

func (l *tcpLink) read() {
	for {
		id, _, payload, err := readFrame(l.c)
		if err != nil {
			return
		}
		l.mu.Lock()
		ch := l.waiting[id]
		delete(l.waiting, id)
		l.mu.Unlock()
		if ch != nil {
			ch <- payload
		}
	}
}

func (l *tcpLink) call(ctx context.Context, kind uint8, payload []byte) ([]byte, error) {
	ch := make(chan []byte, 1)
	l.mu.Lock()
	l.next++
	id := l.next
	l.waiting[id] = ch
	l.mu.Unlock()
	if err := writeFrame(&l.mu, l.c, id, kind, payload); err != nil {
		return nil, err
	}
	select {
	case b := <-ch:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// diskCluster is three groups in this process, on files and TCP over loopback.
func diskCluster(b *testing.B, wal bool) (leader, follower *Group) {
	b.Helper()
	book := &tcpBook{addrs: map[string]string{}, group: map[string]*Group{}, links: map[string]*tcpLink{}}
	ids := []string{"n1", "n2", "n3"}
	var groups []*Group
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, id := range ids {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		t := &tcp{ln, book, id}
		book.addrs[id] = ln.Addr().String()
		g, err := Open(Options{
			Name: "cache", ID: id, Boot: 1, Dir: filepath.Join(b.TempDir(), id), WAL: wal, Timeout: 2 * time.Second,
			Table: cache.New(), Streams: t, Links: t, Kinds: kinds,
		})
		if err != nil {
			b.Fatal(err)
		}
		book.group[id] = g
		groups = append(groups, g)
		running.Go(func() {
			if err := g.Run(ctx, func() {}); err != nil {
				b.Error(err)
			}
		})
	}
	b.Cleanup(func() {
		cancel()
		running.Wait()
		for _, l := range book.links {
			l.c.Close()
		}
	})
	if err := groups[0].Bootstrap(ids); err != nil {
		b.Fatal(err)
	}
	for leader == nil || follower == nil {
		time.Sleep(10 * time.Millisecond)
		for _, g := range groups {
			if _, ok := g.Leading(); ok {
				leader = g
			} else if g.Leader() != "" {
				follower = g
			}
		}
	}
	if _, err := leader.Do(ctx, cache.Define(cache.Spec{Name: "c", Items: 1 << 20})); err != nil {
		b.Fatal(err)
	}
	return leader, follower
}

// callers shares b.N ops among n goroutines.
func callers(b *testing.B, n int, do func(i int) error) {
	b.Helper()
	b.ReportAllocs()
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range n {
		all.Go(func() {
			for {
				i := int(next.Add(1))
				if i > b.N {
					return
				}
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkWrites is the strict path: packed as Do does it, from the leader and from a follower, and beside it
// one entry for each op.
func BenchmarkWrites(b *testing.B) {
	for _, wal := range []bool{false, true} {
		name := map[bool]string{false: "bolt", true: "wal"}[wal]
		b.Run(name, func(b *testing.B) {
			leader, follower := diskCluster(b, wal)
			ops := make([][]byte, 1000)
			for i := range ops {
				ops[i] = inc(fmt.Sprintf("client-%013d", i))
			}
			do := func(g *Group) func(int) error {
				return func(i int) error {
					_, err := g.Do(b.Context(), ops[i%len(ops)])
					return err
				}
			}
			single := func(i int) error {
				chunk := chunkOf(leader.client, leader.seq.Add(1), ops[i%len(ops)])
				return leader.raft.Apply(entryOf(time.Duration(i), chunk), 0).Error()
			}
			for _, n := range []int{1, 64, 1024} {
				b.Run(fmt.Sprintf("packed/callers=%d", n), func(b *testing.B) { callers(b, n, do(leader)) })
				b.Run(fmt.Sprintf("follower/callers=%d", n), func(b *testing.B) { callers(b, n, do(follower)) })
				b.Run(fmt.Sprintf("single/callers=%d", n), func(b *testing.B) { callers(b, n, single) })
			}
		})
	}
}

// BenchmarkPackedOverSingle tells the ratio at 1024 callers, measured in turns.
func BenchmarkPackedOverSingle(b *testing.B) {
	leader, _ := diskCluster(b, false)
	o := inc("client-192.168.100.7")
	run := func(n int, do func() error) float64 {
		var all sync.WaitGroup
		var left atomic.Int64
		left.Store(int64(n))
		began := time.Now()
		for range 1024 {
			all.Go(func() {
				for left.Add(-1) >= 0 {
					if err := do(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		return float64(n) / time.Since(began).Seconds()
	}
	var packed, single float64
	for range b.N {
		single += run(10_000, func() error {
			return leader.raft.Apply(entryOf(1, chunkOf(leader.client, leader.seq.Add(1), o)), 0).Error()
		})
		packed += run(100_000, func() error {
			_, err := leader.Do(b.Context(), o)
			return err
		})
	}
	b.ReportMetric(packed/single, "packed/single")
	b.ReportMetric(leader.Stats().OpsPerBatch, "ops/batch")
	b.ReportMetric(packed/float64(b.N), "packed-ops/s")
	b.ReportMetric(single/float64(b.N), "single-ops/s")
}

func BenchmarkFreshReads(b *testing.B) {
	leader, follower := diskCluster(b, false)
	if _, err := leader.Do(b.Context(), inc("k")); err != nil {
		b.Fatal(err)
	}
	get := cache.Get("c", "k")
	for name, g := range map[string]*Group{"leader": leader, "follower": follower} {
		for _, n := range []int{1, 1024} {
			b.Run(fmt.Sprintf("%s/callers=%d", name, n), func(b *testing.B) {
				callers(b, n, func(int) error {
					_, err := g.Read(b.Context(), get, true)
					return err
				})
			})
		}
	}
	b.Run("local", func(b *testing.B) {
		callers(b, 2, func(int) error {
			_, err := follower.Read(b.Context(), get, false)
			return err
		})
	})
}

// BenchmarkDo is what the batcher costs by itself: a cluster of one, in memory.
func BenchmarkDo(b *testing.B) {
	g, err := Open(Options{Name: "cache", ID: "n1", Table: cache.New()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = g.Run(ctx, func() {}) })
	defer running.Wait()
	defer cancel()
	if err := g.Bootstrap([]string{"n1"}); err != nil {
		b.Fatal(err)
	}
	if _, err := g.Do(ctx, cache.Define(cache.Spec{Name: "c", Items: 1000})); err != nil {
		b.Fatal(err)
	}
	o := inc("client-192.168.100.7")
	for _, n := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("callers=%d", n), func(b *testing.B) {
			callers(b, n, func(int) error {
				_, err := g.Do(b.Context(), o)
				return err
			})
		})
	}
}

// BenchmarkMachineApply is an entry of 512 ops, with sessions.
func BenchmarkMachineApply(b *testing.B) {
	m := newCacheMachine()
	ops := make([][]byte, 512)
	for i := range ops {
		ops[i] = inc(fmt.Sprint("client-192.168.100.", i%100))
	}
	b.ReportAllocs()
	seq := uint64(1)
	for i := 0; i < b.N; i += len(ops) {
		m.apply(uint64(i), time.Minute, chunkOf("client", seq, ops...))
		seq += uint64(len(ops))
	}
}

func BenchmarkAnswer(b *testing.B) {
	b.ReportAllocs()
	rs := make([]op.Result, 512)
	for i := range rs {
		rs[i] = op.Result{IsNum: true, Num: int64(i * 100)}
	}
	for i := 0; i < b.N; i += len(rs) {
		if _, err := parseAnswer(answer{results: rs}.encode(math.MaxInt), len(rs)); err != nil {
			b.Fatal(err)
		}
	}
}

var _ raft.FSM = (*machine)(nil)
