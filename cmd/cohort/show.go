package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cohortd/cohort/api"
)

// show prints v as JSON when that was asked for, else as text makes it, with its columns aligned.
func (c *client) show(cmd *cobra.Command, v any, text func(w io.Writer)) error {
	out := cmd.OutOrStdout()
	if c.json {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	var aligned bytes.Buffer
	w := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	text(w)
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(aligned.String()) { // a column without text leaves blanks
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func printStatus(w io.Writer, s api.Status) {
	printNode(w, s)
	for _, part := range []func(io.Writer, api.Status){printMembers, printGroups, printLegions, printDaemons, printCaches} {
		var b bytes.Buffer
		part(&b, s)
		if b.Len() > 0 {
			fmt.Fprintf(w, "\n%s", b.Bytes())
		}
	}
}

func printNode(w io.Writer, s api.Status) {
	state := "running"
	if s.Draining {
		state = "draining"
	}
	fmt.Fprintf(w, "node %s\t%s, up %s, start %d", s.Node, state, s.Uptime.Round(time.Second), s.Boot)
	if s.PID != 0 {
		fmt.Fprintf(w, ", pid %d", s.PID)
	}
	fmt.Fprintf(w, ", cohort %s\n", s.Version)
	cluster := s.Cluster
	if cluster == "" {
		cluster = "none yet"
	}
	fmt.Fprintf(w, "cluster\t%s\n", cluster)
	if len(s.HTTP) > 0 {
		fmt.Fprintf(w, "http\t%s\n", strings.Join(s.HTTP, " "))
	}
}

func printMembers(w io.Writer, s api.Status) {
	if len(s.Members) == 0 {
		return
	}
	fmt.Fprintln(w, "NODE\tADDRESS\tSTATE\tROLE\tSTARTS\tID")
	for _, m := range s.Members {
		name, state := m.Name, "dead"
		if m.Self {
			name += " (this one)"
		}
		if m.Alive {
			state = "alive"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", name, orDash(m.Address), state, m.Role, m.Boot, m.ID)
	}
}

func printGroups(w io.Writer, s api.Status) {
	if len(s.Groups) == 0 {
		return
	}
	fmt.Fprintln(w, "GROUP\tLEADER\tVOTERS\tFOLLOWERS\tTERM\tENTRIES\tOPS\tBATCHES")
	for _, g := range s.Groups {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\n", g.Name, orDash(g.Leader), orDash(strings.Join(g.Voters, " ")), orDash(strings.Join(g.Others, " ")), g.Term, g.Applied, g.Ops, g.Batches)
	}
}

func printLegions(w io.Writer, s api.Status) {
	for i, l := range s.Legions {
		if i > 0 {
			fmt.Fprintln(w)
		}
		switch {
		case l.IsLord:
			fmt.Fprintf(w, "legion %s: this node is lord, epoch %d, valid for %s; %s\n", l.Name, l.Epoch, l.ValidFor.Round(time.Millisecond), votes(l))
		case l.Lord != "":
			fmt.Fprintf(w, "legion %s: %s is lord, epoch %d; %s\n", l.Name, l.Lord, l.Epoch, votes(l))
		default:
			fmt.Fprintf(w, "legion %s: no lord: %s\n", l.Name, l.Reason)
		}
		members := slices.Clone(l.Members)
		slices.SortFunc(members, func(a, b api.LegionMember) int { return strings.Compare(a.Node, b.Node) })
		fmt.Fprintln(w, "NODE\tVALOR\tVOTES FOR\tNOTE")
		for _, m := range members {
			var notes []string
			if m.Node == l.Lord {
				notes = append(notes, "lord")
			}
			if m.Arbiter {
				notes = append(notes, "arbiter")
			}
			if m.Draining {
				notes = append(notes, "draining")
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", m.Node, m.Valor, orDash(m.Vote), strings.Join(notes, ", "))
		}
	}
}

func votes(l api.Legion) string {
	return fmt.Sprintf("%s, quorum %d", counted(l.Votes, "vote"), l.Quorum)
}

func printDaemons(w io.Writer, s api.Status) {
	if len(s.Daemons) == 0 {
		return
	}
	fmt.Fprintln(w, "DAEMON\tSTATE\tFOR\tPID\tLEGION\tEPOCH\tRESTARTS\tCOMMAND")
	for _, d := range s.Daemons {
		since := "-"
		if !d.Since.IsZero() {
			since = time.Since(d.Since).Round(time.Second).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", d.Name, d.State, since, orDash(d.PID), orDash(d.Legion), orDash(d.Epoch), d.Restarts, d.Command)
	}
}

func printCaches(w io.Writer, s api.Status) {
	if len(s.Caches) == 0 {
		return
	}
	fmt.Fprintln(w, "CACHE\tSCOPE\tITEMS\tLIMIT")
	for _, k := range s.Caches {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\n", k.Name, k.Scope, k.Items, k.Limit)
	}
}

// orDash is v, or a dash when it is zero or empty.
func orDash[T comparable](v T) string {
	var nothing T
	if v == nothing {
		return "-"
	}
	return fmt.Sprint(v)
}

// counted is n and the noun, in the plural where that is right.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
