package node

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cohortd/cohort/cluster"
	"github.com/cohortd/cohort/config"
	"github.com/cohortd/cohort/daemons"
	"github.com/cohortd/cohort/gateway"
	"github.com/cohortd/cohort/legion"
)

func TestPartsStartInOrderAndStopInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		slow := func(name string) part {
			return part{name, func(ctx context.Context, ready func()) error {
				time.Sleep(time.Second)
				seen = append(seen, "+"+name)
				ready()
				<-ctx.Done()
				time.Sleep(time.Second)
				seen = append(seen, "-"+name)
				return nil
			}}
		}
		ctx, cancel := context.WithCancel(t.Context())
		up := func() { seen = append(seen, "up"); cancel() }
		if err := runParts(ctx, slog.New(slog.DiscardHandler), []part{slow("a"), slow("b")}, up); err != nil {
			t.Fatalf("runParts = %v, want no error", err)
		}
		if want := []string{"+a", "+b", "up", "-b", "-a"}; !slices.Equal(seen, want) {
			t.Errorf("seen %q, want %q", seen, want)
		}
	})
}

func TestPartsFailTogether(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		run  func(ctx context.Context, ready func()) error
		want error
	}{
		"before it is ready": {func(context.Context, func()) error { return broken }, broken},
		"after it was ready": {func(_ context.Context, ready func()) error { ready(); time.Sleep(time.Minute); return broken }, broken},
		"ended unasked":      {func(_ context.Context, ready func()) error { ready(); return nil }, errEnded},
		"while stopping": {func(ctx context.Context, ready func()) error {
			ready()
			<-ctx.Done()
			return broken
		}, broken},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				firstGone := false
				first := part{"first", func(ctx context.Context, ready func()) error {
					ready()
					<-ctx.Done()
					firstGone = true
					return nil
				}}
				err := runParts(ctx, slog.New(slog.DiscardHandler), []part{first, {"second", tt.run}}, func() {})
				if !errors.Is(err, tt.want) {
					t.Errorf("runParts = %v, want %v", err, tt.want)
				}
				if !firstGone {
					t.Error("the first part was left running")
				}
			})
		})
	}
}

// TestWhatANodeRuns looks that every option that needs a part gets it, in an order in which each finds what it
// needs, and that nothing else runs.
func TestWhatANodeRuns(t *testing.T) {
	blue := legion.Default()
	blue.Name, blue.Secret, blue.Valor = "blue", "a secret of the legion", 1
	for name, tt := range map[string]struct {
		cfg  config.Config
		deps Deps
		want []string
	}{
		"alone": {
			config.Config{},
			Deps{},
			[]string{"sweep", "admin socket", "control group", "cache group", "new clusters", "caches", "balance"},
		},
		"with everything": {
			config.Config{
				Legions: []legion.Config{blue}, Gateway: gateway.Config{Listen: []gateway.Listen{{Addr: "127.0.0.1:0"}}},
				Daemons: []daemons.Daemon{{Name: "own", Command: "sleep 1000"}, {Name: "lord's", Command: "sleep 1000", Legion: "blue"}},
			},
			Deps{},
			[]string{"sweep", "admin socket", "control group", "cache group", "new clusters", "caches", "legion blue", "balance", "daemons", "gateway"},
		},
		"with daemons of a legion only": {
			config.Config{Daemons: []daemons.Daemon{{Name: "lord's", Command: "sleep 1000", Legion: "blue"}}},
			Deps{},
			[]string{"sweep", "admin socket", "control group", "cache group", "new clusters", "caches", "balance"},
		},
		"in a bubble": {
			config.Config{Legions: []legion.Config{blue}},
			Deps{Network: noNetwork{}, Guard: &guard{}, Memory: true, ID: cluster.NewIdentity("", 1)},
			[]string{"control group", "cache group", "new clusters", "caches", "legion blue", "balance"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt.cfg.Node, tt.cfg.Data, tt.deps.Keys = "n1", t.TempDir(), testKeys()
			n, err := New(&tt.cfg, tt.deps)
			if err != nil {
				t.Fatal(err)
			}
			if err := n.open(); err != nil {
				t.Fatal(err)
			}
			defer n.close()
			var got []string
			for _, p := range n.parts() {
				got = append(got, p.name)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("parts %q, want %q", got, tt.want)
			}
		})
	}
}

// noNetwork is one that a cluster of one must not touch.
type noNetwork struct{ cluster.Network }
