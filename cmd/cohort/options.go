package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cohortd/cohort/config"
)

// optionsIntro stands above the tables of docs/options.md.
const optionsIntro = `# Options

This page is printed from the table that the binary itself reads: ` + "`cohort options --markdown`" + `. On a terminal,
` + "`cohort options`" + ` shows the same, and ` + "`cohort options legions`" + ` one group of it.

An option stands in a section ` + "`[uwsgi]`" + `, which uWSGI reads too, or in ` + "`[cohort]`" + `, which it passes over; both may stand in one
file. On the command line the same options follow the file, as ` + "`--name value`" + ` or ` + "`--name=value`" + `, and win over it:

` + "```ini" + `
[uwsgi]
http-socket = :8080
master = true

[cohort]
node = n1
cluster = 10.0.0.1:7400
cluster-join = 10.0.0.1,10.0.0.2,10.0.0.3
` + "```" + `
` + "```" + `
cohort run node.ini --node n2 --cluster 10.0.0.2:7400
cohort check node.ini
` + "```" + `

- ` + "`cohort check`" + ` and the start of a node say all mistakes at once, each with its file and line.
- A name that is not known is a mistake in ` + "`[cohort]`" + `, and in ` + "`[uwsgi]`" + ` where it looks misspelt; see ` + "`strict`" + `. An option of uWSGI
  that cohort does not have is a notice.
- ` + "`%(name)`" + ` is the value of another key of the file, ` + "`$(NAME)`" + ` an environment variable.
- Times have a unit: ` + "`500ms`, `30s`, `2h`" + `; a bare number is seconds. Sizes: ` + "`8`, `64K`, `1M`" + `.

`

func optionsCommand() *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use: "options [GROUP]", Short: "Every option of the ini, with what it takes",
		Long: "Every option of the ini, with what it takes. The groups are: " + strings.Join(config.Groups(), " "),
		Args: between(0, 1), ValidArgs: config.Groups(),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			if markdown {
				fmt.Fprint(out, optionsIntro)
				config.Markdown(out)
				return nil
			}
			if err := config.Help(out, strings.Join(args, "")); err != nil {
				return usageError{err}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "as docs/options.md")
	return cmd
}
