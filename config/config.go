// Package config turns ini text into what each part is asked to do. Every mistake has its place, and all
// are told at once.
//
// It is one pipeline: a file becomes lines, lines become entries, and each step of reader.steps makes the
// list of entries a little simpler (sections, set, $(ENV), %(name)) until only options are left, which one
// table sets in a Config. A new piece of the grammar is a new step; a new option is a new row of the table.
// The reader runs in its caller, starts nothing and keeps nothing.
//
// The grammar is uWSGI's, core/ini.c and core/config.c. Where uWSGI is silent about a mistake, we are not.
package config

import (
	"os"

	"github.com/cohortd/cohort/cachefsm"
	"github.com/cohortd/cohort/cachefsm/cache"
	"github.com/cohortd/cohort/cluster"
	"github.com/cohortd/cohort/daemons"
	"github.com/cohortd/cohort/gateway"
	"github.com/cohortd/cohort/legion"
	"github.com/cohortd/cohort/router"
)

// Config is what was asked of one node.
type Config struct {
	Node     string // name of the node; the host's when not given
	Data     string // directory of everything that must outlive a restart
	LogDebug bool   // log why things happen too, not only what
	LogJSON  bool   // a JSON object for each line of the log
	Cluster  cluster.Config
	Raft     cachefsm.Config
	Caches   []cache.Spec // the first one is the default
	Legions  []legion.Config
	Daemons  []daemons.Daemon
	Gateway  gateway.Config
	Rules    []router.Rule
	Notices  []string // "file:line: text": what is accepted and has no effect, and why
}

// Load reads the ini file at path, then args, which are options as "--name value" or "--name=value" and
// win over the file. FILE:SECTION reads another section than [uwsgi] and [cohort]; an empty path reads no
// file. env looks up the variables of $(NAME), as os.LookupEnv does.
//
// The error joins an *Error for each mistake, in the order of the file. The Config comes with it for its
// Notices; it is complete only when there is no error.
func Load(path string, args []string, env func(string) (string, bool)) (*Config, error) {
	r := newReader(env)
	if path != "" {
		file, section := splitPath(path)
		text, err := os.ReadFile(file)
		if err != nil {
			r.fail(place{file: file}, readError(err))
			return r.result()
		}
		r.source(file, section, string(text))
	}
	r.arguments(args)
	r.run()
	return r.result()
}
