package cluster

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestCopiedIdentityIsRefused(t *testing.T) {
	bubble(t, func(w *world) {
		nodes := w.start(3)
		w.wantAlive(3*time.Second, "n1 n2 n3", nodes...)
		ready := false
		clone := w.node(4, as(identityBoot(3, 2)))
		err := clone.Run(context.Background(), func() { ready = true })
		var found *CloneError
		if !errors.As(err, &found) || found.Addr != "10.0.0.3:7400" || found.Boot != nodes[2].id.Boot() {
			t.Fatalf("Run of the copy = %v, want a CloneError about n3", err)
		}
		if ready {
			t.Error("the copy was ready for a moment")
		}
		w.eventually(2*time.Second, "all talk to n3 again", func() bool {
			addr, _ := nodes[0].Address(nodes[2].id.ID)
			return addr == "10.0.0.3:7400" && living(nodes[0]) == "n1 n2 n3"
		})
		w.wantCall(nodes[0], nodes[2])
	})
}

func TestCopiedIdentitiesMeetLater(t *testing.T) {
	bubble(t, func(w *world) {
		first := w.node(1).run()
		old := w.node(3, as(identityBoot(9, 7))).run()
		w.wantAlive(3*time.Second, "n1 n3", first, old)
		w.net.Host("n4", ipOf(4)) // plugged in, so that it can be cut off before it starts
		w.net.Isolate("n4")
		w.net.Kill("n4")
		clone := w.node(4, as(identityBoot(9, 8))).run()
		w.wantAlive(5*time.Second, "n4", clone)
		w.net.Heal()
		select {
		case <-clone.ended:
		case <-time.After(20 * time.Second):
			t.Fatal("the copy still runs")
		}
		if found := new(CloneError); !errors.As(clone.err, &found) {
			t.Errorf("Run of the copy = %v, want a CloneError", clone.err)
		}
		w.wantAlive(5*time.Second, "n1 n3", first, old)
	})
}

func TestOtherClusterIsRefused(t *testing.T) {
	bubble(t, func(w *world) {
		nodes := []*testNode{w.node(1, of("blue")).run(), w.node(2, of("blue")).run()}
		w.wantAlive(3*time.Second, "n1 n2", nodes...)
		stranger := w.node(3, of("red"))
		err := stranger.Run(context.Background(), func() {})
		var foreign *ForeignError
		if !errors.As(err, &foreign) || foreign.Ours != "red" || foreign.Theirs != "blue" {
			t.Fatalf("Run = %v, want a ForeignError", err)
		}
		w.wantAlive(0, "n1 n2", nodes...)
		if n := len(nodes[0].Members()) + len(nodes[1].Members()); n != 4 {
			t.Errorf("members: %v", nodes[0].Members())
		}
		if nodes[0].Stats().Foreign+nodes[1].Stats().Foreign == 0 {
			t.Error("Stats().Foreign = 0, want the refusals counted")
		}
		fresh := w.node(4).run()
		w.wantAlive(3*time.Second, "n1 n2 n4", append(nodes, fresh)...)
	})
}

// Two clusters that only gossip can bring together, through a node that knows both.
func TestOtherClusterIsNotGossipedIn(t *testing.T) {
	bubble(t, func(w *world) {
		w.seed = []string{"10.0.0.1:7400"}
		blue := w.node(1, of("blue")).run()
		w.seed = []string{"10.0.0.2:7400"}
		red := w.node(2, of("red")).run()
		w.seed = []string{"10.0.0.1:7400", "10.0.0.2:7400"}
		both := w.node(3).run()
		time.Sleep(30 * time.Second)
		w.wantAlive(0, "n1 n3", blue)
		w.wantAlive(0, "n2 n3", red)
		both.SetMeta(func(m *Meta) { m.ClusterID = "blue" })
		w.wantAlive(0, "n1 n3", both)
		w.wantAlive(10*time.Second, "n2", red)
	})
}

func TestOtherSecretIsRefused(t *testing.T) {
	bubble(t, func(w *world) {
		nodes := w.start(2)
		w.wantAlive(3*time.Second, "n1 n2", nodes...)
		stranger := w.node(3, with(otherKeys())).run()
		time.Sleep(30 * time.Second)
		w.wantAlive(0, "n1 n2", nodes...)
		w.wantAlive(0, "n3", stranger)
		if s := nodes[0].Stats(); s.HandshakesFailed == 0 {
			t.Errorf("Stats = %+v, want failed handshakes", s)
		}
	})
}

func TestSecretIsChanged(t *testing.T) {
	const one, two = "the first secret of the cluster.", "the second secret of the cluster"
	both, swapped, last := mustKeys(one, two), mustKeys(two, one), mustKeys(two, "")
	bubble(t, func(w *world) {
		for step, pair := range [][2]*Keys{{mustKeys(one, ""), both}, {both, swapped}, {swapped, last}} {
			a, b := w.node(1, with(pair[0])).run(), w.node(2, with(pair[1])).run()
			w.wantAlive(3*time.Second, "n1 n2", a, b)
			time.Sleep(30 * time.Second)
			w.wantAlive(0, "n1 n2", a, b)
			w.wantCall(a, b)
			w.wantCall(b, a)
			for _, n := range []*testNode{a, b} {
				if s := n.Stats(); s.PacketsRefused+s.HandshakesFailed != 0 {
					t.Errorf("round %d: %s has %+v, want nothing refused", step, n.name, s)
				}
				n.kill()
			}
		}
	})
}
