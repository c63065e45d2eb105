package daemons

import (
	"syscall"
	"time"
)

// Daemon is one external program that is kept running.
type Daemon struct {
	Name       string         // tag of its log lines, from its command when the ini gives none
	Command    string         // run by /bin/sh -c, or directly when no character in it needs a shell
	Legion     string         // empty: on every node; else only where this legion's lord is
	Pidfile    string         // smart: the program puts itself into the background and writes this file
	Freq       int            // smart: checks, one a second, until a missing pid counts as a failed start; 10
	StopSignal syscall.Signal // SIGTERM
	StopGrace  time.Duration  // StopSignal to SIGKILL; 10 s
	Where      string         // file:line, for messages
}
