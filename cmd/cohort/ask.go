package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cohortd/cohort/api"
	"github.com/cohortd/cohort/cluster"
)

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

// show prints v as JSON when that was asked for, else as text makes it.
func (c *client) show(cmd *cobra.Command, v any, text func(w io.Writer)) error {
	out := cmd.OutOrStdout()
	if c.json {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	text(w)
	return w.Flush()
}

// status asks for the node's status and shows the part of it that pick names.
func (c *client) status(cmd *cobra.Command, pick func(api.Status) any, text func(io.Writer, api.Status)) error {
	node, err := c.dial()
	if err != nil {
		return err
	}
	s, err := node.Status(cmd.Context())
	if err != nil {
		return err
	}
	return c.show(cmd, pick(s), func(w io.Writer) { text(w, s) })
}

func (c *client) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "The node, its cluster, its legions and daemons on one page", Args: exactly(0),
		Long: "The node, its cluster, its legions and daemons on one page. Exits with 4 when a legion has no lord or a group has no leader.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var unled []string
			err := c.status(cmd, func(s api.Status) any { unled = leaderless(s); return s }, func(w io.Writer, s api.Status) {
				fmt.Fprintf(w, "node\t%s\t%s, up %s, start %d, cohort %s\n", s.Node, draining(s.Draining), s.Uptime.Round(time.Second), s.Boot, s.Version)
				for _, g := range s.Groups {
					fmt.Fprintf(w, "group\t%s\tleader %s, %d voters, %d entries, %d ops in %d batches\n", g.Name, orNone(g.Leader), len(g.Voters), g.Applied, g.Ops, g.Batches)
				}
				fmt.Fprintln(w)
				printMembers(w, s)
				printLegions(w, s)
				printDaemons(w, s)
				for _, k := range s.Caches {
					fmt.Fprintf(w, "cache %s\t%s\t%d of %d items\n", k.Name, k.Scope, k.Items, k.Limit)
				}
			})
			if err == nil && len(unled) > 0 {
				err = &api.Error{Kind: api.NoQuorum, Text: strings.Join(unled, "; ")}
			}
			return err
		},
	}
}

// leaderless says what of s cannot be decided at the moment.
func leaderless(s api.Status) []string {
	var out []string
	for _, g := range s.Groups {
		if g.Leader == "" {
			out = append(out, fmt.Sprintf("group %s has no leader: more than half of its voters must run and reach each other", g.Name))
		}
	}
	for _, l := range s.Legions {
		if l.Lord == "" {
			out = append(out, fmt.Sprintf("legion %s has no lord: %s", l.Name, l.Reason))
		}
	}
	return out
}

func (c *client) membersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "members", Short: "The nodes this node knows", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.status(cmd, func(s api.Status) any { return s.Members }, printMembers)
		},
	}
}

func (c *client) legionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "legion", Short: "Each legion: its lord, its members, their valor and votes", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.status(cmd, func(s api.Status) any { return s.Legions }, printLegions)
		},
	}
}

func (c *client) daemonsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "daemons", Short: "The daemons this node looks after", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.status(cmd, func(s api.Status) any { return s.Daemons }, printDaemons)
		},
	}
}

func printMembers(w io.Writer, s api.Status) {
	fmt.Fprintln(w, "NODE\tADDRESS\tSTATE\tROLE\tSTARTS\tID")
	for _, m := range s.Members {
		name := m.Name
		if m.Self {
			name += " (this one)"
		}
		state := "dead"
		if m.Alive {
			state = "alive"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", name, m.Address, state, m.Role, m.Boot, m.ID)
	}
	fmt.Fprintln(w)
}

func printLegions(w io.Writer, s api.Status) {
	for _, l := range s.Legions {
		switch {
		case l.IsLord:
			fmt.Fprintf(w, "legion %s\tlord is this node, epoch %d, valid for %s, %d votes (quorum %d)\n", l.Name, l.Epoch, l.ValidFor.Round(time.Millisecond), l.Votes, l.Quorum)
		case l.Lord != "":
			fmt.Fprintf(w, "legion %s\tlord is %s, epoch %d, %d votes (quorum %d)\n", l.Name, l.Lord, l.Epoch, l.Votes, l.Quorum)
		default:
			fmt.Fprintf(w, "legion %s\tno lord: %s\n", l.Name, l.Reason)
		}
		fmt.Fprintln(w, "  NODE\tVALOR\tVOTES FOR\tNOTE")
		for _, m := range l.Members {
			note := ""
			if m.Arbiter {
				note = "arbiter"
			}
			if m.Draining {
				note = "draining"
			}
			fmt.Fprintf(w, "  %s\t%d\t%s\t%s\n", m.Node, m.Valor, orNone(m.Vote), note)
		}
		fmt.Fprintln(w)
	}
}

func printDaemons(w io.Writer, s api.Status) {
	if len(s.Daemons) == 0 {
		return
	}
	fmt.Fprintln(w, "DAEMON\tSTATE\tPID\tLEGION\tEPOCH\tRESTARTS\tCOMMAND")
	for _, d := range s.Daemons {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", d.Name, d.State, orDash(d.PID), d.Legion, orDash(int(d.Epoch)), d.Restarts, d.Command)
	}
	fmt.Fprintln(w)
}

func (c *client) drainCommand() *cobra.Command {
	var off bool
	cmd := &cobra.Command{
		Use: "drain", Short: "Hand over what this node leads, and take nothing until --off or a restart", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			node, err := c.dial()
			if err != nil {
				return err
			}
			return node.Drain(cmd.Context(), !off)
		},
	}
	cmd.Flags().BoolVar(&off, "off", false, "end the drain")
	return cmd
}

func (c *client) stepDownCommand() *cobra.Command {
	return &cobra.Command{
		Use: "step-down LEGION", Short: "Hand one legion to the next best node", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			node, err := c.dial()
			if err != nil {
				return err
			}
			return node.StepDown(cmd.Context(), args[0])
		},
	}
}

func versionCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "The version of this binary", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versionText()
			return c.show(cmd, map[string]string{"version": v}, func(w io.Writer) { fmt.Fprintln(w, "cohort", v) })
		},
	}
}

func secretCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "secret", Short: "Make a cluster secret", Args: exactly(0),
		Long: "Makes a cluster secret of 256 random bits. Put it into a file that only cohort's user can read, and name that on every node: cluster-secret-file = FILE",
		RunE: func(cmd *cobra.Command, _ []string) error {
			secret := cluster.NewSecret()
			return c.show(cmd, map[string]string{"secret": secret}, func(w io.Writer) { fmt.Fprintln(w, secret) })
		},
	}
}

func draining(on bool) string {
	if on {
		return "draining"
	}
	return "running"
}

func orNone(s string) string {
	if s == "" {
		return "nobody"
	}
	return s
}

func orDash(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}
