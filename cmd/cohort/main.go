// Command cohort runs a node and asks running nodes.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 no node answered, 4 no lord or no quorum.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/cohortd/cohort/api"
	"github.com/cohortd/cohort/daemons"
)

// version is set when a release is built; otherwise the module's own is used.
var version string

func main() {
	// A guardian is this binary started again. It must cost little, so nothing else is set up before it.
	if daemons.IsGuardian(os.Args) {
		os.Exit(daemons.GuardianMain())
	}
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() { // a second signal ends the process at once, as a shell user expects
		<-ctx.Done()
		stop()
	}()
	root := commands()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && err.Error() != "" {
		fmt.Fprintln(os.Stderr, "cohort:", err)
	}
	return exitCode(err)
}

// usageError is a mistake in the arguments or in the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func exitCode(err error) int {
	var usage usageError
	var failed *api.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return 2
	case errors.As(err, &failed):
		switch failed.Kind {
		case api.BadRequest:
			return 2
		case api.Unreachable:
			return 3
		case api.NoQuorum:
			return 4
		}
	}
	return 1
}

// client is what the verbs that ask a node have in common.
type client struct {
	data string
	json bool
}

func commands() *cobra.Command {
	root := &cobra.Command{
		Use:   "cohort",
		Short: "One lord, one limit, one gateway over a few machines",
		Long: `cohort elects one lord among a few machines to run what must run exactly once, gives one
cluster-wide answer to "may this request pass?", and is a programmable gateway in front of both.

Start here:  cohort dev          three nodes on this machine, with commands to try
Then:        cohort run FILE.ini one node, as you would run it on each machine`,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	c := &client{}
	root.PersistentFlags().StringVar(&c.data, "data", "", "data directory of the node to ask (default: the only one under ./cohort-data, or $COHORT_DATA)")
	root.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON")
	root.AddCommand(
		devCommand(), runCommand(), checkCommand(), optionsCommand(), secretCommand(c),
		c.statusCommand(), c.membersCommand(), c.legionCommand(), c.daemonsCommand(), c.cacheCommand(),
		c.drainCommand(), c.stepDownCommand(), versionCommand(c), dummyCommand(),
	)
	return root
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "dev"
}

// exactly is cobra.ExactArgs with our exit code and a message that shows the form.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("%s takes %d argument(s), got %d: %s", cmd.Name(), n, len(args), cmd.UseLine())}
		}
		return nil
	}
}
