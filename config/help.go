package config

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// argument is what stands behind the option's name.
func (o option) argument() string {
	if arg, _, found := o.splitHelp(); found {
		return arg
	}
	return "yes or no"
}

// splitHelp takes "ARGUMENT: what it does" apart. An argument has no blank before its colon unless it is in
// capitals, as in NAME VOTES.
func (o option) splitHelp() (argument, what string, found bool) {
	if o.kind == yesNo {
		return "", o.help, false
	}
	return strings.Cut(o.help, ": ")
}

// Help writes the options of the groups named, or of all. An empty name is no group.
func Help(w io.Writer, groups ...string) error {
	groups = slices.DeleteFunc(slices.Clone(groups), func(g string) bool { return g == "" })
	if len(groups) == 0 {
		groups = Groups()
	}
	rows := table(newReader(nil))
	for i, group := range groups {
		if !slices.Contains(Groups(), group) {
			return fmt.Errorf("there is no group %q of options: there are %s", group, strings.Join(Groups(), ", "))
		}
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s:\n", group)
		for _, o := range rows {
			if o.group != group {
				continue
			}
			argument, what, _ := o.splitHelp()
			if o.value != "" {
				what += " (default " + o.value + ")"
			}
			fmt.Fprintf(w, "  --%s\n      %s\n", strings.TrimSpace(o.name+" "+argument), what)
		}
	}
	return nil
}

// Markdown writes all options as tables, one for each group, for docs/options.md.
func Markdown(w io.Writer) {
	rows := table(newReader(nil))
	cell := strings.NewReplacer("|", `\|`)
	for _, group := range Groups() {
		fmt.Fprintf(w, "## %s%s\n\n| option | value | default | more than once | what it does |\n| --- | --- | --- | --- | --- |\n",
			strings.ToUpper(group[:1]), group[1:])
		for _, o := range rows {
			if o.group != group {
				continue
			}
			argument, what, _ := o.splitHelp()
			if argument != "" {
				argument = "`" + argument + "`"
			}
			fmt.Fprintf(w, "| `%s` | %s | %s | %s | %s |\n", o.name, cell.Replace(argument), cell.Replace(o.value), o.kind, cell.Replace(what))
		}
		fmt.Fprintln(w)
	}
}
