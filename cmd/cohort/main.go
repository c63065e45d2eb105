// Command cohort runs a node and asks running nodes.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 no node answered, 4 no lord or no quorum.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
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
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	defer stop()
	go func() { // a second signal ends the process at once, as a shell user expects
		<-ctx.Done()
		stop()
	}()
	root := commands()
	root.SetArgs(numbersLast(root, args))
	err := root.ExecuteContext(ctx)
	tell(os.Stderr, err)
	return exitCode(err)
}

// endSignals are what asks this process to end. A closed terminal does too, unless nohup has it ignored.
func endSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// usageError is a mistake in the arguments or in the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func tell(w io.Writer, err error) {
	var wrong mistakes
	switch {
	case err == nil || err.Error() == "":
	case errors.As(err, &wrong): // each line begins with its place, where editors look for it
		fmt.Fprintln(w, wrong)
	default:
		fmt.Fprintln(w, "cohort:", err)
	}
}

func exitCode(err error) int {
	var usage usageError
	var failed *api.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return 2
	case errors.As(err, &failed):
		return failed.Kind.ExitCode()
	default:
		return 1
	}
}

// The groups that --help shows the verbs in.
const (
	groupRun    = "run"
	groupLook   = "look"
	groupChange = "change"
	groupOther  = "other"
)

func commands() *cobra.Command {
	root := group(&cobra.Command{
		Use:   "cohort",
		Short: "One lord, one limit, one gateway over a few machines",
		Long: `cohort elects one lord among a few machines to run what must run exactly once, gives one
cluster-wide answer to "may this request pass?", and is a programmable gateway in front of both.

Start here:  cohort dev             three nodes on this machine, with commands to try
Then:        cohort run FILE.ini    one node, as you would run it on each machine`,
		SilenceUsage: true, SilenceErrors: true,
	})
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1))
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w: %s --help lists what there is", err, cmd.CommandPath())}
	})
	c := &client{}
	root.PersistentFlags().StringVar(&c.data, "data", "", "data `directory` of the node to ask (default: $COHORT_DATA, or the only one under ./cohort-data)")
	root.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON")
	_ = root.MarkPersistentFlagDirname("data") // fails for unknown flags only

	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run a node:"}, &cobra.Group{ID: groupLook, Title: "Look:"},
		&cobra.Group{ID: groupChange, Title: "Change:"}, &cobra.Group{ID: groupOther, Title: "Other:"},
	)
	add := func(id string, verbs ...*cobra.Command) {
		for _, v := range verbs {
			v.GroupID = id
			root.AddCommand(v)
		}
	}
	add(groupRun, devCommand(), runCommand(), checkCommand(c))
	add(groupLook, c.statusCommand(), c.membersCommand(), c.legionCommand(), c.daemonsCommand())
	add(groupChange, c.cacheCommand(), c.drainCommand(), c.stepDownCommand())
	add(groupOther, optionsCommand(), secretCommand(c), versionCommand(c))
	root.AddCommand(devDaemonCommand())
	root.SetHelpCommandGroupID(groupOther)
	root.SetCompletionCommandGroupID(groupOther)
	return root
}

func versionCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "The version of this binary", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := map[string]string{"version": versionText(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			return c.show(cmd, v, func(w io.Writer) { fmt.Fprintf(w, "cohort %s (%s, %s)\n", v["version"], v["go"], v["platform"]) })
		},
	}
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
