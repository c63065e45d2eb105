package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cohortd/cohort/e2e/memnet"
)

func TestNodesJoin(t *testing.T) {
	for _, count := range []int{3, 5} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			bubble(t, func(w *world) {
				nodes := w.start(count)
				want := "n1 n2 n3 n4 n5"[:3*count-1]
				w.wantAlive(3*time.Second, want, nodes...)
				for _, from := range nodes {
					for _, to := range nodes {
						w.wantCall(from, to)
					}
				}
				m := nodes[0].Members()
				if !slices.IsSortedFunc(m, func(a, b Member) int { return strings.Compare(a.ID, b.ID) }) {
					t.Errorf("Members is not sorted by id: %v", m)
				}
				if self := nodes[0].Self(); !slices.Contains(m, self) {
					t.Errorf("Members = %v lacks Self = %v", m, self)
				}
			})
		})
	}
}

func TestKilledNodeIsSeenDead(t *testing.T) {
	for name, kill := range map[string]func(*world, *testNode){
		"process": func(_ *world, n *testNode) { n.kill() },
		"machine": func(w *world, n *testNode) { w.net.Isolate(n.name); n.kill() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				nodes := w.start(3)
				w.wantAlive(3*time.Second, "n1 n2 n3", nodes...)
				changed := nodes[0].Changed()
				kill(w, nodes[2])
				w.wantAlive(3*time.Second, "n1 n2", nodes[:2]...)
				select {
				case <-changed:
				default:
					t.Error("Changed was not closed")
				}
				i := slices.IndexFunc(nodes[0].Members(), func(m Member) bool { return m.ID == nodes[2].id.ID })
				if i < 0 {
					t.Errorf("Members = %v; want the dead node kept", nodes[0].Members())
				}
				w.wantCall(nodes[0], nodes[1])
			})
		})
	}
}

func TestStoppedNodeSaysFarewell(t *testing.T) {
	bubble(t, func(w *world) {
		nodes := w.start(3)
		w.wantAlive(3*time.Second, "n1 n2 n3", nodes...)
		nodes[2].stop()
		if nodes[2].err != nil {
			t.Errorf("Run = %v, want nil", nodes[2].err)
		}
		w.wantAlive(500*time.Millisecond, "n1 n2", nodes[:2]...)
	})
}

func TestIsolatedNodeRejoins(t *testing.T) {
	for name, cut := range map[string]time.Duration{"after a moment": 4 * time.Second, "long forgotten": 5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				nodes := w.start(3)
				w.wantAlive(3*time.Second, "n1 n2 n3", nodes...)
				w.net.Isolate("n3")
				w.wantAlive(5*time.Second, "n1 n2", nodes[:2]...)
				w.wantAlive(5*time.Second, "n3", nodes[2])
				time.Sleep(cut)
				w.net.Heal()
				w.wantAlive(15*time.Second, "n1 n2 n3", nodes...)
				w.wantCall(nodes[2], nodes[0])
				w.wantCall(nodes[0], nodes[2])
			})
		})
	}
}

func TestRestartOnAnotherAddress(t *testing.T) {
	for name, ip := range map[string]string{"another": "10.0.0.33", "the same": ipOf(3)} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				nodes := w.start(3)
				w.wantAlive(3*time.Second, "n1 n2 n3", nodes...)
				nodes[2].kill()
				again := w.node(3, at(ip), as(identityBoot(3, 2))).run()
				w.eventually(2*time.Second, "the new boot is known", func() bool {
					addr, ok := nodes[0].Address(again.id.ID)
					i := slices.IndexFunc(nodes[0].Members(), func(m Member) bool { return m.ID == again.id.ID })
					return ok && addr == ip+":7400" && nodes[0].Members()[i].Boot == again.id.Boot()
				})
				w.wantCall(nodes[0], again)
				w.wantCall(again, nodes[1])
				time.Sleep(time.Minute)
				w.wantAlive(0, "n1 n2 n3", nodes[0], nodes[1], again)
				if n := len(nodes[0].Members()); n != 3 {
					t.Errorf("%d members, want one entry for each id: %v", n, nodes[0].Members())
				}
			})
		})
	}
}

func TestMetaSpreads(t *testing.T) {
	bubble(t, func(w *world) {
		nodes := []*testNode{w.node(1, saying(Meta{Expect: 3, Fresh: true, Protocol: 1})).run(), w.node(2).run(), w.node(3).run()}
		w.wantAlive(3*time.Second, "n1 n2 n3", nodes...)
		want := Meta{Expect: 3, Protocol: 1, ClusterID: "blue", Draining: true, HTTP: "1.2.3.4:80", Sees: "ab"}
		nodes[0].SetMeta(func(m *Meta) {
			m.Fresh, m.ClusterID, m.Draining, m.HTTP, m.Sees = false, "blue", true, "1.2.3.4:80", "ab"
		})
		if got := nodes[0].Self().Meta; got != want {
			t.Errorf("Self().Meta = %+v, want %+v", got, want)
		}
		for _, n := range nodes {
			w.eventually(2*time.Second, "the new meta is known", func() bool { return n.Members()[0].Meta == want })
		}
		nodes[0].SetMeta(func(m *Meta) { m.HTTP = strings.Repeat("x", 1000) })
		if got := nodes[0].Self().Meta; got != want {
			t.Errorf("after what does not fit Self().Meta = %+v, want %+v", got, want)
		}
	})
}

func TestGossipReachesAll(t *testing.T) {
	for name, trouble := range map[string]func(*memnet.Net){
		"a good network":  func(*memnet.Net) {},
		"a third is lost": func(n *memnet.Net) { n.Loss(0.3) },
		"UDP is lost":     func(n *memnet.Net) { n.Loss(1) },
		"a cable is cut":  func(n *memnet.Net) { n.Cut("n1", "n5") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				nodes := w.start(5)
				w.wantAlive(3*time.Second, "n1 n2 n3 n4 n5", nodes...)
				time.Sleep(time.Second) // the links are made
				trouble(w.net)
				for i := range 3 {
					msg := []byte(fmt.Sprintf("n1 %d text", i+1))
					nodes[0].news.Merge(msg)
					nodes[0].Spread("n1", msg)
				}
				for _, n := range nodes {
					w.eventually(2*time.Second, "the announcement is at "+n.name, func() bool { return n.news.get("n1") == "n1 3 text" })
				}
			})
		})
	}
}

// A joiner gets what was said before it came, and a message too long for a packet arrives all the same.
func TestStateExchange(t *testing.T) {
	bubble(t, func(w *world) {
		first := w.node(1).run()
		long := "k 1 " + strings.Repeat("x", 5000)
		for _, msg := range []string{"n1 1 a", long} {
			first.news.Merge([]byte(msg))
			first.Spread(strings.Fields(msg)[0], []byte(msg))
		}
		second := w.node(2).run()
		w.eventually(3*time.Second, "the state is at n2", func() bool {
			return second.news.get("n1") == "n1 1 a" && second.news.get("k") == long
		})
	})
}

// With UDP lost altogether memberlist's TCP pings keep everybody alive.
func TestMembersWithoutUDP(t *testing.T) {
	bubble(t, func(w *world) {
		w.net.Loss(1)
		nodes := w.start(3)
		w.wantAlive(15*time.Second, "n1 n2 n3", nodes...)
		time.Sleep(30 * time.Second)
		w.wantAlive(0, "n1 n2 n3", nodes...)
		w.wantCall(nodes[0], nodes[2])
	})
}

func TestRunIsOverAtOnce(t *testing.T) {
	bubble(t, func(w *world) {
		n := w.node(1)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := n.Run(ctx, func() {}); err != nil {
			t.Errorf("Run with an ended context = %v", err)
		}
		if _, err := n.Call(context.Background(), "x", 1, nil); !errors.Is(err, ErrNoMember) {
			t.Errorf("Call afterwards: %v", err)
		}
		if _, err := n.Streams('c').Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept afterwards: %v", err)
		}
		if _, err := n.host.Listen("10.0.0.1:7400"); err != nil {
			t.Errorf("the port is still taken: %v", err)
		}
	})
}

// Names in cluster-join are looked up at each round: whoever gets another address is found there.
func TestNamesAreLookedUpAgain(t *testing.T) {
	bubble(t, func(w *world) {
		w.seed = nil
		w.node(1, at("10.0.0.77")).run()
		w.seed = []string{"first.example:7400"}
		n := w.node(2)
		start := time.Now()
		n.ask = func(_ context.Context, host string) ([]netip.Addr, error) {
			switch age := time.Since(start); {
			case host != "first.example" || age < 2*time.Second:
				return nil, errors.New("no such host")
			case age < 4*time.Second:
				return addrs("10.0.0.66"), nil // nobody is there
			}
			return addrs("10.0.0.66", "10.0.0.77"), nil
		}
		n.run()
		w.wantAlive(30*time.Second, "n1 n2", n)
	})
}
