package node

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"
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
