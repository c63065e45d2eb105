package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cohortd/cohort/config"
	"github.com/cohortd/cohort/node"
)

func runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run FILE.ini [--option value ...]",
		Short: "Run one node",
		Long: `Runs one node until it is told to stop. The options are the ini's own, in the order they are given, after
those of the file: cohort run node.ini --node n1 --http-socket :8080. "cohort options" lists them.

SIGTERM or SIGINT hands over what this node leads, stops its daemons and ends with 0; a second one ends it at once.`,
		DisableFlagParsing: true, // order and repetition matter to options, and they are not cobra's
		RunE: func(cmd *cobra.Command, args []string) error {
			if wantsHelp(args) {
				return cmd.Help()
			}
			cfg, err := load(cmd, args)
			if err != nil {
				return err
			}
			log := newLog(os.Stderr, cfg)
			for _, n := range cfg.Notices {
				log.Info("notice", "text", n)
			}
			n, err := node.New(cfg, node.Deps{Log: log, Version: versionText()})
			if err != nil {
				return usageError{err}
			}
			return n.Run(cmd.Context(), func() { log.Info("node ready", "node", cfg.Node, "http", n.HTTP()) })
		},
	}
}

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE.ini [--option value ...]",
		Short: "Say all that is wrong with an ini, without starting anything",
		Long: `Reads an ini as "cohort run" would, says all mistakes at once with file and line, what is accepted without
effect, and what the file asks for. Exits with 0 when a node would start with it, else with 2.`,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if wantsHelp(args) {
				return cmd.Help()
			}
			cfg, err := load(cmd, args)
			if err == nil {
				err = node.Check(cfg)
			}
			if err != nil {
				return usageError{err}
			}
			out := cmd.OutOrStdout()
			for _, n := range cfg.Notices {
				fmt.Fprintln(out, "notice:", n)
			}
			for _, line := range cfg.Summary() {
				fmt.Fprintln(out, line)
			}
			return nil
		},
	}
}

func optionsCommand() *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use: "options [GROUP]", Short: "Every option of the ini, with what it takes",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if markdown {
				config.Markdown(cmd.OutOrStdout())
				return nil
			}
			return config.Help(cmd.OutOrStdout(), strings.Join(args, ""))
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "as the table of docs/options.md")
	return cmd
}

func wantsHelp(args []string) bool {
	return len(args) == 1 && (args[0] == "-h" || args[0] == "--help" || args[0] == "help")
}

func load(cmd *cobra.Command, args []string) (*config.Config, error) {
	if len(args) == 0 {
		return nil, usageError{fmt.Errorf("which file? The form is: cohort %s", cmd.Use)}
	}
	cfg, err := config.Load(args[0], args[1:], os.LookupEnv)
	if err != nil {
		return nil, usageError{err}
	}
	return cfg, nil
}

// newLog writes the node's log: one line an event, for people, or for programs with log-json.
func newLog(w io.Writer, cfg *config.Config) *slog.Logger {
	opts := &slog.HandlerOptions{Level: slog.LevelInfo}
	if cfg.LogDebug {
		opts.Level = slog.LevelDebug
	}
	if cfg.LogJSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// waitFor asks every 50 ms until ok, ctx ends, or the time is up.
func waitFor(ctx context.Context, most time.Duration, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// found says where a program is, or "".
func found(program string) string {
	path, err := exec.LookPath(program)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return ""
	}
	return path
}
