package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cohortd/cohort/api"
)

// client is what the verbs that ask a node have in common.
type client struct {
	data string
	json bool
}

// dial finds the node to ask: --data, else $COHORT_DATA, else the only data directory under ./cohort-data.
func (c *client) dial() (*api.Client, error) {
	dir := c.data
	if dir == "" {
		dir = os.Getenv("COHORT_DATA")
	}
	if dir != "" {
		return api.NewClient(dir), nil
	}
	found, _ := filepath.Glob(filepath.Join("cohort-data", "*", api.SocketName)) // the pattern is well formed
	switch len(found) {
	case 1:
		return api.NewClient(filepath.Dir(found[0])), nil
	case 0:
		return nil, &api.Error{Kind: api.Unreachable, Text: "no node runs from this directory (there is no cohort-data/*/" + api.SocketName + "): name its data directory with --data DIR"}
	}
	var dirs []string
	for _, f := range found {
		dirs = append(dirs, filepath.Dir(f))
	}
	return nil, usageError{fmt.Errorf("several nodes keep their data here: choose one with --data: %s", strings.Join(dirs, ", "))}
}

// status asks for the node's status and shows the part of it that pick names.
func (c *client) status(cmd *cobra.Command, pick func(api.Status) any, text func(io.Writer, api.Status)) (api.Status, error) {
	node, err := c.dial()
	if err != nil {
		return api.Status{}, err
	}
	s, err := node.Status(cmd.Context())
	if err != nil {
		return s, err
	}
	return s, c.show(cmd, pick(s), func(w io.Writer) { text(w, s) })
}

func (c *client) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "The node, its cluster, its legions and daemons on one page", Args: exactly(0),
		Long: "The node, its cluster, its legions and daemons on one page. Exits with 4 when a legion has no lord or a group has no leader.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := c.status(cmd, func(s api.Status) any { return s }, printStatus)
			if err != nil {
				return err
			}
			return unled(append(leaderless(s), lordless(s)...))
		},
	}
}

func (c *client) membersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "members", Short: "The nodes this node knows", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := c.status(cmd, func(s api.Status) any { return s.Members }, printMembers)
			return err
		},
	}
}

func (c *client) legionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "legion", Short: "Each legion: its lord, its members, their valor and votes", Args: exactly(0),
		Long: "Each legion: its lord, its members, their valor and votes. Exits with 4 when one has no lord.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := c.status(cmd, func(s api.Status) any { return s.Legions }, func(w io.Writer, s api.Status) {
				if len(s.Legions) == 0 {
					fmt.Fprintln(w, "this node is in no legion")
				}
				printLegions(w, s)
			})
			if err != nil {
				return err
			}
			return unled(lordless(s))
		},
	}
}

func (c *client) daemonsCommand() *cobra.Command {
	var lines bool
	cmd := &cobra.Command{
		Use: "daemons", Short: "The daemons this node runs now", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := c.status(cmd, func(s api.Status) any { return s.Daemons }, func(w io.Writer, s api.Status) {
				if len(s.Daemons) == 0 {
					fmt.Fprintln(w, "this node runs no daemons now; those of a legion run where its lord is")
				}
				printDaemons(w, s)
				if lines {
					printLines(w, s)
				}
			})
			return err
		},
	}
	cmd.Flags().BoolVar(&lines, "lines", false, "the last lines that each of them wrote, too")
	return cmd
}

func printLines(w io.Writer, s api.Status) {
	for _, d := range s.Daemons {
		for i, line := range d.Lines {
			if i == 0 {
				fmt.Fprintln(w)
			}
			fmt.Fprintf(w, "%s: %s\n", d.Name, strings.ReplaceAll(line, "\t", " ")) // a tab would begin a column
		}
	}
}

// leaderless says which groups cannot agree on anything at the moment.
func leaderless(s api.Status) []string {
	var out []string
	for _, g := range s.Groups {
		if g.Leader == "" {
			out = append(out, fmt.Sprintf("group %s has no leader: more than half of its voters must run and reach each other", g.Name))
		}
	}
	return out
}

// lordless says which legions have no lord, and why.
func lordless(s api.Status) []string {
	var out []string
	for _, l := range s.Legions {
		if l.Lord == "" {
			out = append(out, fmt.Sprintf("legion %s has no lord: %s", l.Name, l.Reason))
		}
	}
	return out
}

func unled(what []string) error {
	if len(what) == 0 {
		return nil
	}
	return &api.Error{Kind: api.NoQuorum, Text: strings.Join(what, "; ")}
}

func (c *client) drainCommand() *cobra.Command {
	var off bool
	cmd := &cobra.Command{
		Use: "drain", Short: "Hand over what this node leads, and take nothing until --off or a restart", Args: exactly(0),
		Long: `Hands over every legion this node is lord of and the leadership of both groups, and keeps it from being given
them again until "cohort drain --off" or a restart. It returns when the others have them: then the node can be stopped.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			node, err := c.dial()
			if err != nil {
				return err
			}
			if err := node.Drain(cmd.Context(), !off); err != nil {
				return err
			}
			return c.show(cmd, api.Drained{Draining: !off}, func(w io.Writer) {
				if off {
					fmt.Fprintln(w, "no longer draining: the node may lead again")
				} else {
					fmt.Fprintln(w, "drained: the node leads nothing, and nothing is given to it until `cohort drain --off` or a restart")
				}
			})
		},
	}
	cmd.Flags().BoolVar(&off, "off", false, "end the drain")
	return cmd
}

func (c *client) stepDownCommand() *cobra.Command {
	return &cobra.Command{
		Use: "step-down LEGION", Short: "Hand one legion to the next best node", Args: exactly(1),
		Long: `Hands a legion that this node is lord of to the next best member. Nothing keeps it from coming back: where this
node has the greater valor it takes over again after legion-preempt-delay. To keep it away, use drain.`,
		ValidArgsFunction: c.legionNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			node, err := c.dial()
			if err != nil {
				return err
			}
			if err := node.StepDown(cmd.Context(), args[0]); err != nil {
				return err
			}
			return c.show(cmd, api.SteppedDown{Legion: args[0]}, func(w io.Writer) {
				fmt.Fprintf(w, "this node is lord of %s no more\n", args[0])
			})
		},
	}
}

// legionNames completes the name of a legion.
func (c *client) legionNames(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var names []string
	if node, err := c.dial(); err == nil && len(args) == 0 {
		s, _ := node.Status(cmd.Context()) // without an answer there is nothing to complete
		for _, l := range s.Legions {
			names = append(names, l.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
