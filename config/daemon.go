package config

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/cohortd/cohort/daemons"
)

// uwsgiGrace is how long uWSGI waits for a daemon before it kills it (core/daemons.c).
const uwsgiGrace = 3 * time.Second

var errNoBackground = errors.New("the command is missing: write PIDFILE[,TRIES] COMMAND")

func (r *reader) setDaemon(e entry) error { return r.addDaemon(e, "", e.value) }

func (r *reader) setSmartDaemon(e entry) error { return r.addSmartDaemon(e, "", e.value) }

func (r *reader) legionDaemon(smart bool) func(entry) error {
	return func(e entry) error {
		l, rest, err := r.legionOf(e.value)
		switch {
		case err != nil:
			return err
		case smart:
			return r.addSmartDaemon(e, l.Name, rest)
		}
		return r.addDaemon(e, l.Name, rest)
	}
}

func (r *reader) addSmartDaemon(e entry, legion, rest string) error {
	file, command := cutWord(rest)
	if command == "" {
		return errNoBackground
	}
	tries := 10
	if name, number, given := strings.Cut(file, ","); given {
		n, err := parseCount(number, 1, 1_000_000)
		if err != nil {
			return err
		}
		file, tries = name, n
	}
	if file == "" {
		return errNoBackground
	}
	if err := r.addDaemon(e, legion, command); err != nil {
		return err
	}
	d := &r.config.Daemons[len(r.config.Daemons)-1]
	d.Pidfile, d.Freq = file, tries
	return nil
}

func (r *reader) addDaemon(e entry, legion, command string) error {
	if command == "" {
		return errors.New("the command is missing")
	}
	r.config.Daemons = append(r.config.Daemons, daemons.Daemon{
		Name:       r.daemonName(command),
		Command:    command,
		Legion:     legion,
		StopSignal: syscall.SIGTERM,
		StopGrace:  uwsgiGrace,
		Where:      e.place.String(),
	})
	return nil
}

// daemonName is the name of the program, with a number from the second one on.
func (r *reader) daemonName(command string) string {
	program := "daemon"
	for rest := command; rest != ""; {
		var w string
		w, rest = cutWord(rest)
		if strings.Contains(w, "=") || w == "exec" {
			continue
		}
		if base := path.Base(strings.Trim(w, `"'`)); isName(base) {
			program = base
		}
		break
	}
	name := program
	for n := 2; r.hasDaemon(name); n++ {
		name = fmt.Sprintf("%s-%d", program, n)
	}
	return name
}

func (r *reader) hasDaemon(name string) bool {
	for _, d := range r.config.Daemons {
		if d.Name == name {
			return true
		}
	}
	return false
}

func (r *reader) finishDaemons() {
	if r.stopGrace == 0 {
		return
	}
	for i := range r.config.Daemons {
		r.config.Daemons[i].StopGrace = r.stopGrace
	}
}
