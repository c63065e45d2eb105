package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// group makes cmd one that only holds others: alone it prints help, and an unknown verb is wrong usage,
// with the verb that may have been meant.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		cmd.SuggestionsMinimumDistance = 2
		text := fmt.Sprintf("there is no %s %s", cmd.CommandPath(), args[0])
		if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
			return usageError{fmt.Errorf("%s: did you mean %s?", text, strings.Join(like, " or "))}
		}
		return usageError{fmt.Errorf("%s: %s --help lists what there is", text, cmd.CommandPath())}
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// exactly takes n arguments; otherwise the error shows the form.
func exactly(n int) cobra.PositionalArgs { return between(n, n) }

func between(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usageError{fmt.Errorf("the form is: %s", cmd.UseLine())}
		}
		return nil
	}
}

// numbersLast puts everything that is not a flag behind "--" when a negative number is among it, which
// would be taken for a flag.
func numbersLast(root *cobra.Command, args []string) []string {
	verb, _, err := root.Find(args)
	if err != nil || verb.DisableFlagParsing || !slices.ContainsFunc(args, isNegative) {
		return args
	}
	var flags, rest []string
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			rest = append(rest, args[i+1:]...)
			i = len(args)
		case a == "-" || !strings.HasPrefix(a, "-") || isNegative(a):
			rest = append(rest, a)
		default:
			flags = append(flags, a)
			if f := verb.Flag(strings.TrimLeft(a, "-")); f != nil && f.NoOptDefVal == "" && i+1 < len(args) {
				i++
				flags = append(flags, args[i])
			}
		}
	}
	path := min(strings.Count(verb.CommandPath(), " "), len(rest)) // the words that led to the verb
	return slices.Concat(rest[:path], flags, []string{"--"}, rest[path:])
}

func isNegative(s string) bool {
	_, err := strconv.ParseInt(s, 10, 64)
	return err == nil && strings.HasPrefix(s, "-")
}
