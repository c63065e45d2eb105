package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cohortd/cohort/cluster"
	"github.com/cohortd/cohort/config"
	"github.com/cohortd/cohort/node"
)

// iniHelp is the help of verbs whose flags are the options of the ini.
const iniHelp = "{{.Long}}\n\nUsage:\n  {{.UseLine}}\n"

func runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run FILE.ini [--option value ...]",
		Short: "Run one node",
		Long: `Runs one node until it is told to stop. The options are the ini's own, in the order they are given, after
those of the file: cohort run node.ini --node n1 --http-socket :8080

SIGTERM or SIGINT hands over what this node leads, stops its daemons and ends with 0; a second one ends it
at once. What happens is logged on the standard error, in more detail with --log-debug.

All options, with what they take:  cohort options [GROUP]      groups: ` + strings.Join(config.Groups(), " ") + `
What a file would do:              cohort check FILE.ini`,
		DisableFlagParsing: true, // order and repetition matter to options, and they are not cobra's
		ValidArgsFunction:  iniFiles,
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
				return newMistakes(args[0], err)
			}
			return n.Run(cmd.Context(), func() { log.Info("node ready", "node", cfg.Node, "http", n.HTTP()) })
		},
	}
	cmd.SetHelpTemplate(iniHelp)
	return cmd
}

func iniFiles(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{"ini"}, cobra.ShellCompDirectiveFilterFileExt
}

// wantsHelp is for verbs whose flags are not cobra's. No option of the ini is called help.
func wantsHelp(args []string) bool {
	return slices.Contains(args, "--help") || len(args) == 1 && (args[0] == "-h" || args[0] == "help")
}

func load(cmd *cobra.Command, args []string) (*config.Config, error) {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return nil, usageError{fmt.Errorf("which file? The form is: %s", cmd.UseLine())}
	}
	cfg, err := config.Load(args[0], args[1:], os.LookupEnv)
	if err != nil {
		return cfg, newMistakes(args[0], err)
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

func secretCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "secret", Short: "Make a cluster secret", Args: exactly(0),
		Long: `Makes a cluster secret of 256 random bits. Put it into a file that only cohort's user can read, the same one on
every node, and name it in the ini: cluster-secret-file = FILE`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			secret := cluster.NewSecret()
			return c.show(cmd, map[string]string{"secret": secret}, func(w io.Writer) { fmt.Fprintln(w, secret) })
		},
	}
}
