package daemons_test

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/cohortd/cohort/clock"
	"github.com/cohortd/cohort/daemons"
)

// A node runs one daemon of a legion as long as it holds the lease.
func Example() {
	if daemons.IsGuardian(os.Args) { // before anything else
		os.Exit(daemons.GuardianMain())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	log := slog.Default()
	if _, err := daemons.Sweep(ctx, "/var/lib/cohort/guardians", "", log); err != nil {
		log.Error("what an earlier life left cannot be ended", "err", err)
		return
	}
	guardian, err := daemons.Start(daemons.Charge{
		Legion: "blue", Epoch: 7, Node: "n1",
		Daemons:   []daemons.Daemon{{Name: "memcached", Command: "memcached -p 11211"}},
		LordHooks: []string{"ip address add 192.0.2.1/24 dev eth0"}, UnlordHooks: []string{"ip address del 192.0.2.1/24 dev eth0"},
		Timing:   daemons.Timing{Lease: 5 * time.Second, Soft: 1500 * time.Millisecond, Kill: time.Second},
		Since:    clock.System{}.Now(),
		StateDir: "/var/lib/cohort/guardians",
	}, "", log)
	if err != nil {
		log.Error("no guardian", "err", err)
		return
	}
	for {
		select {
		case <-time.After(500 * time.Millisecond):
			guardian.Extend(clock.System{}.Now()) // each time a renewal was confirmed
		case <-ctx.Done():
			guardian.Stop(0)
			<-guardian.Down()
			return
		case <-guardian.Down():
			return
		}
	}
}
