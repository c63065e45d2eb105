package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func FuzzReadFrame(f *testing.F) {
	ok := frame{what: frameRequest, kind: 3, id: 7, timeout: 100, payload: []byte("payload")}
	f.Add(ok.append(nil))
	f.Add(ok.append(ok.append(nil))[:40])
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Add([]byte{1, 1, 0, 0x7f, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		var again []byte
		for {
			got, err := readFrame(r)
			if err != nil {
				if err == io.EOF && len(again) != len(b) {
					t.Fatalf("EOF after %d of %d bytes", len(again), len(b))
				}
				break
			}
			again = got.append(again)
		}
		if !bytes.HasPrefix(b, again) {
			t.Fatalf("frames read from %x are %x", b, again)
		}
	})
}

func FuzzPlain(f *testing.F) {
	f.Add(appendPlain(nil, []byte("ticket")))
	f.Add([]byte{0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readPlain(bytes.NewReader(b))
		if err == nil && !bytes.HasPrefix(b, appendPlain(nil, got)) {
			t.Fatalf("readPlain(%x) = %x", b, got)
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add(hello{kind: 'F', boot: 12, cluster: "blue"}.append(nil))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHello(bytes.NewReader(b))
		if err == nil && b[1] == helloVersion && !bytes.HasPrefix(b, h.append(nil)) {
			t.Fatalf("readHello(%x) = %+v", b, h)
		}
	})
}

// twoNodes are n1 and n2, which see each other.
func (w *world) twoNodes(prepare func(a, b *testNode)) (a, b *testNode) {
	w.t.Helper()
	a, b = w.node(1), w.node(2)
	prepare(a, b)
	a.run()
	b.run()
	w.wantAlive(3*time.Second, "n1 n2", a, b)
	return a, b
}

func TestCallErrors(t *testing.T) {
	bubble(t, func(w *world) {
		a, b := w.twoNodes(func(a, b *testNode) {
			for _, n := range []*testNode{a, b} {
				n.Handle(2, func(context.Context, string, []byte) ([]byte, error) { return nil, errors.New("no luck") })
				n.Handle(3, func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				})
				n.Handle(4, func(context.Context, string, []byte) ([]byte, error) { return make([]byte, LongestFrame+1), nil })
			}
		})
		for _, to := range []*testNode{a, b} {
			var remote *RemoteError
			if _, err := a.Call(w.t.Context(), to.id.ID, 2, nil); !errors.As(err, &remote) || remote.Text != "no luck" {
				t.Errorf("%s: a handler's error = %v, want a RemoteError", to.name, err)
			}
			if _, err := a.Call(w.t.Context(), to.id.ID, 9, nil); !errors.As(err, &remote) {
				t.Errorf("%s: a kind nobody answers = %v, want a RemoteError", to.name, err)
			}
			ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
			start := time.Now()
			if _, err := a.Call(ctx, to.id.ID, 3, nil); err == nil || time.Since(start) > 1100*time.Millisecond {
				t.Errorf("%s: a slow handler = %v after %s, want the deadline", to.name, err, time.Since(start))
			}
			cancel()
		}
		var remote *RemoteError
		if _, err := a.Call(w.t.Context(), b.id.ID, 4, nil); !errors.As(err, &remote) || remote.Text != ErrTooLong.Error() {
			t.Errorf("an answer too long = %v", err)
		}
		if _, err := a.Call(w.t.Context(), b.id.ID, 1, make([]byte, LongestFrame+1)); !errors.Is(err, ErrTooLong) {
			t.Errorf("a payload too long = %v", err)
		}
		if _, err := a.Call(w.t.Context(), "nobody", 1, nil); !errors.Is(err, ErrNoMember) {
			t.Errorf("an unknown node = %v", err)
		}
		big := bytes.Repeat([]byte("x"), LongestFrame-100)
		if got, err := a.Call(w.t.Context(), b.id.ID, 1, big); err != nil || len(got) != len(big)+37 {
			t.Errorf("the longest payload = %d bytes, %v", len(got), err)
		}
	})
}

// A handler's context ends with the caller's deadline, which travels as a duration.
func TestHandlerDeadline(t *testing.T) {
	bubble(t, func(w *world) {
		left := make(chan time.Duration, 1)
		a, b := w.twoNodes(func(a, b *testNode) {
			b.Handle(2, func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
				child, cancel := context.WithCancel(ctx)
				defer cancel()
				start := time.Now()
				<-child.Done()
				left <- time.Since(start)
				return nil, child.Err()
			})
		})
		ctx, cancel := context.WithTimeout(w.t.Context(), 700*time.Millisecond)
		defer cancel()
		_, err := a.Call(ctx, b.id.ID, 2, nil)
		if got := <-left; err == nil || got != 700*time.Millisecond {
			t.Errorf("the handler waited %s and the call gave %v, want 700ms and an error", got, err)
		}
	})
}

func TestCallsFailWhenThePeerDies(t *testing.T) {
	for name, die := range map[string]struct {
		kill   func(*world, *testNode)
		within time.Duration
	}{
		"process": {func(w *world, n *testNode) { w.net.Kill(n.name) }, 10 * time.Millisecond},
		"machine": {func(w *world, n *testNode) { w.net.Isolate(n.name); w.net.Kill(n.name) }, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				a, b := w.twoNodes(func(a, b *testNode) {
					b.Handle(2, func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
						<-ctx.Done()
						return nil, ctx.Err()
					})
				})
				var wg sync.WaitGroup
				start := time.Now()
				for range 10 {
					wg.Go(func() {
						if _, err := a.Call(w.t.Context(), b.id.ID, 2, nil); !errors.Is(err, ErrLost) {
							t.Errorf("Call = %v, want ErrLost", err)
						}
					})
				}
				synctest.Wait()
				die.kill(w, b)
				wg.Wait()
				if d := time.Since(start); d > die.within {
					t.Errorf("the calls failed after %s, want %s at most", d, die.within)
				}
			})
		})
	}
}

// A cut shorter than membership notices, and one that it does: the link finds its way again.
func TestLinkComesBack(t *testing.T) {
	for _, cut := range []time.Duration{300 * time.Millisecond, 20 * time.Second} {
		t.Run(cut.String(), func(t *testing.T) {
			bubble(t, func(w *world) {
				a, b := w.twoNodes(func(*testNode, *testNode) {})
				w.wantCall(a, b)
				w.net.Cut("n1", "n2")
				time.Sleep(cut)
				w.net.Heal()
				start := time.Now()
				w.eventually(12*time.Second, "a call gets through", func() bool {
					ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
					defer cancel()
					_, err := a.Call(ctx, b.id.ID, 1, nil)
					return err == nil
				})
				t.Logf("it took %s", time.Since(start))
			})
		})
	}
}

// Only one way is cut, so memberlist keeps the other alive through third nodes: the link notices by itself.
func TestLinkNoticesASilentConnection(t *testing.T) {
	bubble(t, func(w *world) {
		nodes := w.start(3)
		w.wantAlive(3*time.Second, "n1 n2 n3", nodes...)
		w.wantCall(nodes[0], nodes[1])
		up := nodes[0].link(nodes[1].id.ID).up
		w.net.CutOneWay("n2", "n1")
		w.eventually(6*time.Second, "the connection is given up", func() bool { return up.broken() != nil })
		w.net.Heal()
		time.Sleep(time.Second)
		w.wantCall(nodes[0], nodes[1])
	})
}

func TestSendWaitsForTheConnection(t *testing.T) {
	bubble(t, func(w *world) {
		var got atomic.Int32
		a, b := w.twoNodes(func(a, b *testNode) {
			b.Handle(2, func(context.Context, string, []byte) ([]byte, error) { got.Add(1); return nil, nil })
		})
		a.link(b.id.ID).mu.Lock()
		a.link(b.id.ID).drop()
		a.link(b.id.ID).mu.Unlock()
		for range mostLater + 5 {
			a.Send(b.id.ID, 2, []byte("news"))
		}
		time.Sleep(time.Second)
		if n, dropped := got.Load(), a.Stats().SendsDropped; n != mostLater || dropped != 5 {
			t.Errorf("%d sends arrived, %d dropped; want %d and 5", n, dropped, mostLater)
		}
		a.Send("nobody", 2, nil)
		if dropped := a.Stats().SendsDropped; dropped != 6 {
			t.Errorf("%d dropped, want 6", dropped)
		}
	})
}

// More callers than one write takes, in all sizes, and each gets its own answer.
func TestManyCalls(t *testing.T) {
	bubble(t, func(w *world) {
		a, b := w.twoNodes(func(*testNode, *testNode) {})
		w.net.Delay(5*time.Millisecond, 5*time.Millisecond)
		var wg sync.WaitGroup
		for i := range 3000 {
			wg.Go(func() {
				payload := bytes.Repeat([]byte{byte(i)}, i%5000)
				got, err := a.Call(w.t.Context(), b.id.ID, 1, payload)
				if want := append([]byte(a.id.ID+" "), payload...); err != nil || !bytes.Equal(got, want) {
					t.Errorf("call %d = %d bytes, %v; want %d", i, len(got), err, len(want))
				}
			})
		}
		wg.Wait()
		s := a.Stats()
		if s.WritesOut*4 > s.FramesOut {
			t.Errorf("%d frames took %d writes: they were not written together", s.FramesOut, s.WritesOut)
		}
	})
}

// A peer that reads nothing makes callers wait for their deadline, and does not fill memory.
func TestSlowPeer(t *testing.T) {
	bubble(t, func(w *world) {
		a, b := w.twoNodes(func(*testNode, *testNode) {})
		w.wantCall(a, b)
		w.net.CutOneWay("n1", "n2")
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := a.Call(ctx, b.id.ID, 1, make([]byte, 4<<20)); err == nil {
					t.Error("a call through a cut succeeded")
				}
			})
		}
		synctest.Wait()
		up := a.link(b.id.ID).up
		up.mu.Lock()
		n := len(up.out)
		up.mu.Unlock()
		if n > mostBacklog {
			t.Errorf("%d bytes wait to be written, want %d at most", n, mostBacklog)
		}
		wg.Wait()
	})
}

func TestStreams(t *testing.T) {
	bubble(t, func(w *world) {
		var streams, other *Streams
		_, b := w.twoNodes(func(a, b *testNode) { streams, other = b.Streams('c'), a.Streams('c') })
		if got := streams.Addr().String(); got != b.id.ID {
			t.Errorf("Addr = %s, want the id", got)
		}
		got := make(chan string, 1)
		go func() {
			conn, err := streams.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			data, err := io.ReadAll(conn)
			got <- fmt.Sprint(string(data), err)
		}()
		conn, err := other.Dial(b.id.ID, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if s := <-got; s != "hello<nil>" {
			t.Errorf("the other end read %s", s)
		}
		if _, err := other.Dial("nobody", time.Second); !errors.Is(err, ErrNoMember) {
			t.Errorf("Dial of an unknown node: %v", err)
		}
		streams.Close()
		if _, err := streams.Accept(); err == nil {
			t.Error("Accept after Close: want an error")
		}
		if _, err := other.Dial(b.id.ID, time.Second); !errors.Is(err, errNobody) {
			t.Errorf("Dial of closed streams: %v", err)
		}
		w.net.Cut("n1", "n2")
		start := time.Now()
		if _, err := other.Dial(b.id.ID, 300*time.Millisecond); err == nil || time.Since(start) != 300*time.Millisecond {
			t.Errorf("Dial into a cut: %v after %s, want 300ms", err, time.Since(start))
		}
	})
}

// BenchmarkFrames echoes small payloads over TLS on loopback, 64 callers on one connection.
func BenchmarkFrames(b *testing.B) {
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("c=%d", callers), func(b *testing.B) {
			c := realNode(b, NewIdentity("", 1), testKeys())
			p, err := DialPeer(b.Context(), c.Self().Addr, testKeys(), newUUID())
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			payload := []byte("a small operation of some thirty bytes")
			ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
			defer cancel()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := p.Call(ctx, 1, payload); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
			b.ReportMetric(float64(p.counters.framesOut.Load())/float64(max(p.counters.writesOut.Load(), 1)), "frames/write")
		})
	}
}
