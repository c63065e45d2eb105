package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/cohortd/cohort/api"
)

// cacheVerbs are the operations on one key: what each takes after the key, and what it does.
var cacheVerbs = []struct{ name, argument, short string }{
	{"get", "", "print an item"},
	{"exists", "", "exit with 1 when the key is not there"},
	{"set", "VALUE", "store bytes under a key that is not there yet"},
	{"update", "VALUE", "store bytes, whatever is there"},
	{"num", "N", "store a number, whatever is there"},
	{"inc", "[N]", "add N, 1 by default"},
	{"dec", "[N]", "subtract N, 1 by default"},
	{"mul", "[N]", "multiply by N, 2 by default"},
	{"div", "[N]", "divide by N, 2 by default; towards zero, by zero gives 0"},
	{"del", "", "remove an item"},
}

func (c *client) cacheCommand() *cobra.Command {
	var req api.CacheRequest
	cmd := &cobra.Command{Use: "cache", Short: "Read and change caches; numbers are exact over the whole cluster"}
	cmd.PersistentFlags().StringVar(&req.Cache, "name", "", "the cache (default: the first one of the ini)")
	cmd.PersistentFlags().DurationVar(&req.Expires, "expires", 0, "how long an item that is created lives, such as 30s (default: for ever)")
	cmd.PersistentFlags().BoolVar(&req.Local, "local", false, "read this node's table, which may be a moment behind")
	for _, v := range cacheVerbs {
		use := v.name + " KEY"
		if v.argument != "" {
			use += " " + v.argument
		}
		cmd.AddCommand(&cobra.Command{
			Use: use, Short: v.short,
			// DisableFlagParsing would lose --name; "--" before a negative number works as everywhere.
			Args: func(cmd *cobra.Command, args []string) error {
				least, most := 1, 1
				switch v.argument {
				case "VALUE", "N":
					least, most = 2, 2
				case "[N]":
					most = 2
				}
				if len(args) < least || len(args) > most {
					return usageError{fmt.Errorf("the form is: %s", cmd.UseLine())}
				}
				return nil
			},
			RunE: func(cmd *cobra.Command, args []string) error { return c.cacheDo(cmd, req, v.name, args) },
		})
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "clear", Short: "remove all items of the cache", Args: exactly(0),
			RunE: func(cmd *cobra.Command, _ []string) error { return c.cacheDo(cmd, req, "clear", nil) },
		},
		&cobra.Command{
			Use: "list", Short: "the caches and how full they are", Args: exactly(0),
			RunE: func(cmd *cobra.Command, _ []string) error {
				return c.status(cmd, func(s api.Status) any { return s.Caches }, func(w io.Writer, s api.Status) {
					fmt.Fprintln(w, "CACHE\tSCOPE\tITEMS\tLIMIT")
					for _, k := range s.Caches {
						fmt.Fprintf(w, "%s\t%s\t%d\t%d\n", k.Name, k.Scope, k.Items, k.Limit)
					}
				})
			},
		})
	return cmd
}

func (c *client) cacheDo(cmd *cobra.Command, req api.CacheRequest, verb string, args []string) error {
	req.Verb = verb
	if len(args) > 0 {
		req.Key = args[0]
	}
	if len(args) == 2 {
		if verb == "set" || verb == "update" {
			req.Value = []byte(args[1])
		} else {
			n, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil {
				return usageError{fmt.Errorf("%q is not a whole number of 64 bits", args[1])}
			}
			req.Amount = &n
		}
	}
	node, err := c.dial()
	if err != nil {
		return err
	}
	a, err := node.Cache(cmd.Context(), req)
	if err != nil {
		return err
	}
	if (verb == "get" || verb == "exists") && !a.Found {
		if c.json {
			_ = c.show(cmd, a, nil)
		}
		return &api.Error{Kind: api.NotFound, Text: fmt.Sprintf("no item %q", req.Key)}
	}
	return c.show(cmd, a, func(w io.Writer) {
		switch {
		case a.Number != nil:
			fmt.Fprintln(w, *a.Number)
		case verb == "get":
			fmt.Fprintf(w, "%s\n", a.Value)
		}
	})
}

// dummyCommand is the lord's daemon of `cohort dev` where memcached is not installed: it says that it
// lives, and does nothing else.
func dummyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "dev-daemon", Hidden: true, Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(cmd.OutOrStdout(), "a small daemon of cohort's own: memcached is not installed")
			for {
				select {
				case <-time.After(10 * time.Second):
					fmt.Fprintln(cmd.OutOrStdout(), "still here")
				case <-cmd.Context().Done():
					return nil
				}
			}
		},
	}
}
