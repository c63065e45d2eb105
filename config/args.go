package config

import (
	"fmt"
	"strings"
)

// arguments reads the options that stand after the file on the command line, after all that is in the
// file.
func (r *reader) arguments(args []string) {
	for i := 0; i < len(args); i++ {
		word, at := args[i], place{commandLine, i + 1}
		name, dashes := strings.CutPrefix(word, "--")
		if !dashes || name == "" {
			r.fail(at, fmt.Errorf("%s is no option: write --name value or --name=value", quoteName(word)))
			continue
		}
		key, value, given := strings.Cut(name, "=")
		if !given && r.takesValue(key) && i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
			i++
			value = args[i]
		}
		r.entries = append(r.entries, entry{place: at, key: key, value: value})
	}
}

// takesValue tells whether the next word belongs to an option. Of an option that is not ours nobody knows,
// and a word that is no option itself is taken for its value.
func (r *reader) takesValue(key string) bool {
	o, ours := r.options[key]
	return !ours || o.kind != yesNo
}
