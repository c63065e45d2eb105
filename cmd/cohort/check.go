package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cohortd/cohort/config"
	"github.com/cohortd/cohort/node"
)

// mistakes are all that is wrong with a configuration, one a line, each with its place.
type mistakes struct {
	file string
	all  []string
}

func newMistakes(file string, errs ...error) error {
	m := mistakes{file: file}
	for _, err := range errs {
		m.all = append(m.all, apart(err)...)
	}
	return usageError{m}
}

func (m mistakes) Error() string {
	return fmt.Sprintf("%s\n%s: %s", strings.Join(m.all, "\n"), m.file, counted(len(m.all), "mistake"))
}

// apart takes joined errors apart. A mistake is one line.
func apart(err error) []string {
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // what is wrapped has one text
	if !ok {
		return []string{strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")}
	}
	var out []string
	for _, e := range joined.Unwrap() {
		out = append(out, apart(e)...)
	}
	return out
}

// report is what check found.
type report struct {
	OK       bool     `json:"ok"`
	Mistakes []string `json:"mistakes"` // "file:line: text"
	Notices  []string `json:"notices"`  // the same form: accepted, and has no effect or is risky
	Summary  []string `json:"summary"`  // what a node would do; empty when it would not start
}

func checkCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check FILE.ini [--option value ...]",
		Short: "Say all that is wrong with an ini, without starting anything",
		Long: `Reads an ini as "cohort run" would, and says all mistakes at once, one a line with file and line, what is
accepted without effect, and what a node would do with it. Exits with 0 when a node would start, else with 2.
With --json before or behind the file it prints the same for programs.`,
		DisableFlagParsing: true,
		ValidArgsFunction:  iniFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			if wantsHelp(args) {
				return cmd.Help()
			}
			if i := slices.Index(args, "--json"); i >= 0 { // no option of the ini is called json
				c.json = true
				args = slices.Delete(args, i, i+1)
			}
			cfg, err := load(cmd, args)
			if cfg == nil {
				return err
			}
			r, err := examine(args[0], cfg, err)
			return errors.Join(c.showReport(cmd, args[0], r), err)
		},
	}
	cmd.SetHelpTemplate(iniHelp)
	return cmd
}

// examine has the rules compiled too, whatever is wrong elsewhere: all mistakes are to be told at once.
func examine(file string, cfg *config.Config, wrong error) (report, error) {
	r := report{Mistakes: []string{}, Notices: append([]string{}, cfg.Notices...), Summary: []string{}}
	notices, err := node.Check(cfg)
	r.Notices = append(r.Notices, notices...)
	if wrong == nil && err == nil {
		r.OK, r.Summary = true, cfg.Summary()
		return r, nil
	}
	var all []string
	for _, e := range []error{wrong, err} {
		var m mistakes
		switch {
		case errors.As(e, &m):
			all = append(all, m.all...)
		case e != nil:
			all = append(all, apart(e)...)
		}
	}
	slices.SortStableFunc(all, func(a, b string) int { return lineOf(file, a) - lineOf(file, b) })
	r.Mistakes = all
	return r, usageError{mistakes{file, all}}
}

// lineOf is where in file a mistake is; what is elsewhere comes last.
func lineOf(file, mistake string) int {
	behind, here := strings.CutPrefix(mistake, file+":")
	number, _, _ := strings.Cut(behind, ":")
	if n, err := strconv.Atoi(number); err == nil && here {
		return n
	}
	return math.MaxInt
}

// showReport prints what is no mistake; those are told as errors, unless it is JSON.
func (c *client) showReport(cmd *cobra.Command, file string, r report) error {
	return c.show(cmd, r, func(w io.Writer) {
		for _, n := range r.Notices {
			fmt.Fprintln(w, "notice:", n)
		}
		for _, line := range r.Summary {
			fmt.Fprintln(w, line)
		}
		if r.OK {
			fmt.Fprintf(w, "%s: no mistakes, %s\n", file, counted(len(r.Notices), "notice"))
		}
	})
}
