package daemons

import (
	"os"
	"path/filepath"
	"strings"
)

// shellBytes need a shell; exec must not be put before a line with one of listBytes, which may be more than one command.
const (
	shellBytes = "|&;<>()$`\\\"'*?[]#~{}\n\r"
	listBytes  = "|&;()`\n\r"
)

// argv is what to execute for a command line. A line with nothing for a shell in it is executed directly, and a simple
// command that does need the shell replaces it, so that signals and exit codes are the program's own.
func argv(line string, find func(name string) string) (path string, args []string) {
	words := strings.Fields(line)
	program := ""
	if len(words) > 0 {
		program = find(words[0]) // nothing: a shell's own word, an assignment, or a mistake that the shell will name
	}
	if program == "" {
		return "/bin/sh", []string{"sh", "-c", line}
	}
	if !strings.ContainsAny(line, shellBytes) {
		return program, words
	}
	if !strings.ContainsAny(strings.ReplaceAll(line, ">&", ">"), listBytes) {
		line = "exec " + line
	}
	return "/bin/sh", []string{"sh", "-c", line}
}

// findProgram looks for an executable file on a PATH. Unlike the shell it takes no empty entry for the working directory.
func findProgram(name, path string) string {
	runs := func(file string) bool {
		info, err := os.Stat(file)
		return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
	}
	if strings.Contains(name, "/") {
		if runs(name) {
			return name
		}
		return ""
	}
	for _, dir := range filepath.SplitList(path) {
		if file := filepath.Join(dir, name); dir != "" && runs(file) {
			return file
		}
	}
	return ""
}

// Variables that programs find in their environment. The mark tells Sweep whose child a process is.
const (
	envEpoch  = "COHORT_EPOCH"
	envLegion = "COHORT_LEGION"
	envNode   = "COHORT_NODE"
	envMark   = "COHORT_GUARDIAN"
)

// inherit is what programs get of the node's environment: not what systemd told the node alone, no secret of ours, and
// nothing that is set anew for each program.
func inherit(env []string) []string {
	out := make([]string, 0, len(env))
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case envEpoch, envLegion, envNode, envMark,
			"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES":
			continue
		}
		if strings.HasPrefix(name, "COHORT_") && hidden(name) {
			continue
		}
		out = append(out, v)
	}
	return out
}

func hidden(name string) bool {
	for _, word := range []string{"SECRET", "TOKEN", "PASSWORD", "KEY"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

func lookup(env []string, name string) string {
	for _, v := range env {
		if rest, ok := strings.CutPrefix(v, name+"="); ok {
			return rest
		}
	}
	return ""
}
