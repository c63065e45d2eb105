package main

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/cohortd/cohort/api"
)

// cacheVerbs are the operations on one key: what each takes after the key, and what it does.
var cacheVerbs = []struct{ name, argument, short string }{
	{"get", "", "Print an item; exit with 1 when the key is not there"},
	{"exists", "", "Exit with 0 when the key is there, with 1 when it is not"},
	{"set", "[VALUE]", "Store bytes under a key that is not there yet"},
	{"update", "[VALUE]", "Store bytes, whatever is there"},
	{"num", "N", "Store a number, whatever is there"},
	{"inc", "[N]", "Add N, 1 by default, and print the sum"},
	{"dec", "[N]", "Subtract N, 1 by default"},
	{"mul", "[N]", "Multiply by N, 2 by default"},
	{"div", "[N]", "Divide by N, 2 by default; towards zero, by zero gives 0"},
	{"del", "", "Remove an item"},
}

// mostRead is what is read of a file for a value: more than any cache takes, so that too much is refused
// and not cut.
const mostRead = 1<<20 + 1

// cacheAsk is one operation as it was asked for on the command line.
type cacheAsk struct {
	api.CacheRequest
	from string // file of the value
	raw  bool   // print the value and nothing else
}

func (c *client) cacheCommand() *cobra.Command {
	var ask cacheAsk
	cmd := group(&cobra.Command{
		Use: "cache", Short: "Read and change caches; numbers are exact over the whole cluster",
		Long: `Reads and changes caches. Numbers are exact over the whole cluster: each is changed in one step, in one order
on all nodes. They have 64 bits and a sign; a negative one is written as it is: cohort cache inc balance -5`,
	})
	cmd.PersistentFlags().StringVar(&ask.Cache, "name", "", "the `cache` (default: the first one of the ini)")
	cmd.PersistentFlags().DurationVar(&ask.Expires, "expires", 0, "how long an item that is created lives, such as 30s (default: for ever)")
	for _, v := range cacheVerbs {
		least, most, use := 1, 1, v.name+" KEY"
		if v.argument != "" {
			most, use = 2, use+" "+v.argument
		}
		if v.argument == "N" {
			least = 2
		}
		verb := &cobra.Command{
			Use: use, Short: v.short, Args: between(least, most),
			RunE: func(cmd *cobra.Command, args []string) error { return c.cacheDo(cmd, ask, v.name, args) },
		}
		switch v.name {
		case "get":
			verb.Flags().BoolVar(&ask.raw, "raw", false, "print the bytes of the item and no line feed behind them")
			fallthrough
		case "exists":
			verb.Flags().BoolVar(&ask.Local, "local", false, "read this node's table, which may be a moment behind")
		case "set", "update":
			verb.Flags().StringVar(&ask.from, "from", "", "read the value from a `file` instead, - is the standard input")
			_ = verb.MarkFlagFilename("from") // fails for unknown flags only
		}
		cmd.AddCommand(verb)
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "clear", Short: "Remove all items of the cache", Args: exactly(0),
			RunE: func(cmd *cobra.Command, _ []string) error { return c.cacheDo(cmd, ask, "clear", nil) },
		},
		&cobra.Command{
			Use: "list", Short: "The caches and how full they are", Args: exactly(0),
			RunE: func(cmd *cobra.Command, _ []string) error {
				_, err := c.status(cmd, func(s api.Status) any { return s.Caches }, func(w io.Writer, s api.Status) {
					if len(s.Caches) == 0 {
						fmt.Fprintln(w, "there is no cache: cache2 = name=NAME,items=1000 makes one")
					}
					printCaches(w, s)
				})
				return err
			},
		})
	return cmd
}

func (c *client) cacheDo(cmd *cobra.Command, ask cacheAsk, verb string, args []string) (err error) {
	ask.Verb = verb
	if len(args) > 0 {
		ask.Key = args[0]
	}
	if verb == "set" || verb == "update" {
		if ask.Value, err = ask.value(cmd, args[1:]); err != nil {
			return err
		}
	} else if len(args) == 2 {
		n, err := strconv.ParseInt(args[1], 10, 64)
		if err != nil {
			return usageError{fmt.Errorf("%q is not a whole number of 64 bits", args[1])}
		}
		ask.Amount = &n
	}
	node, err := c.dial()
	if err != nil {
		return err
	}
	a, err := node.Cache(cmd.Context(), ask.CacheRequest)
	if err != nil {
		return err
	}
	if (verb == "get" || verb == "exists") && !a.Found {
		if c.json {
			if err := c.show(cmd, a, nil); err != nil {
				return err
			}
		}
		return &api.Error{Kind: api.NotFound, Text: fmt.Sprintf("no item %q", ask.Key)}
	}
	return c.showItem(cmd, ask, a)
}

// value is what is to be stored: the argument, or what a file holds.
func (a *cacheAsk) value(cmd *cobra.Command, args []string) ([]byte, error) {
	switch {
	case (a.from != "") == (len(args) == 1):
		return nil, usageError{fmt.Errorf("the value is either VALUE or in a file, --from FILE: the form is: %s", cmd.UseLine())}
	case a.from == "":
		return []byte(args[0]), nil
	}
	in := cmd.InOrStdin()
	if a.from != "-" {
		f, err := os.Open(a.from)
		if err != nil {
			return nil, usageError{err}
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, mostRead))
	if err != nil {
		return nil, fmt.Errorf("read the value: %w", err)
	}
	return b, nil
}

func (c *client) showItem(cmd *cobra.Command, ask cacheAsk, a api.CacheAnswer) error {
	out := cmd.OutOrStdout()
	switch {
	case c.json:
		return c.show(cmd, a, nil)
	case ask.Verb == "exists":
		return nil
	case a.Number != nil:
		a.Value = strconv.AppendInt(nil, *a.Number, 10)
	case ask.Verb != "get":
		return nil
	}
	if !ask.raw {
		a.Value = append(a.Value, '\n')
	}
	_, err := out.Write(a.Value) // as it is: tabs and blanks too
	return err
}
