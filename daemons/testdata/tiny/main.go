// Command tiny is the smallest node that has a guardian: to measure what a guardian costs.
package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/cohortd/cohort/daemons"
)

func main() {
	if daemons.IsGuardian(os.Args) {
		os.Exit(daemons.GuardianMain())
	}
	var ds []daemons.Daemon
	for _, command := range os.Args[1:] {
		ds = append(ds, daemons.Daemon{Command: command})
	}
	g, err := daemons.Start(daemons.Charge{Daemons: ds, Forever: true}, "", slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(g.PID())
	io.Copy(io.Discard, os.Stdin) //nolint:errcheck // until the test closes it
	g.Stop(0)
	<-g.Down()
}
