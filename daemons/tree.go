package daemons

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// process is one line of /proc: enough to tell it from a later process with the same pid.
type process struct {
	pid, ppid, session int
	state              byte   // R S D T Z ..., see proc(5)
	start              uint64 // clock ticks since the machine started
}

// dead says that nothing of it runs any more; it waits to be reaped.
func (p process) dead() bool { return p.state == 'Z' || p.state == 'X' }

// look reads /proc/PID/stat.
func look(pid int) (process, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, err
	}
	return parseStat(pid, b)
}

// parseStat starts after the last parenthesis: a program may be called "a) Z 1 (b".
func parseStat(pid int, b []byte) (process, error) {
	rest := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(rest) < 20 {
		return process{}, fmt.Errorf("daemons: /proc/%d/stat has %d fields", pid, len(rest))
	}
	p := process{pid: pid, state: rest[0][0]}
	var errs [3]error
	p.ppid, errs[0] = strconv.Atoi(string(rest[1]))
	p.session, errs[1] = strconv.Atoi(string(rest[3]))
	p.start, errs[2] = strconv.ParseUint(string(rest[19]), 10, 64)
	return p, errors.Join(errs[:]...)
}

// everyone is all processes that can be seen.
func everyone() []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what could be read is what we go by
	var all []process
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if p, err := look(pid); err == nil {
				all = append(all, p)
			}
		}
	}
	return all
}

// childrenOf lists pid's children from the children file of each of its threads. A kernel without those files makes it
// look at every process.
func childrenOf(pid int) []int {
	tasks, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return nil
	}
	var out []int
	for _, task := range tasks {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + task.Name() + "/children")
		if err != nil && !childFiles() {
			return childrenByParent(pid)
		}
		for _, word := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(word); err == nil {
				out = append(out, child)
			}
		}
	}
	return out
}

func childFiles() bool {
	self := strconv.Itoa(os.Getpid())
	_, err := os.Stat("/proc/" + self + "/task/" + self + "/children")
	return err == nil
}

func childrenByParent(pid int) []int {
	var out []int
	for _, p := range everyone() {
		if p.ppid == pid {
			out = append(out, p.pid)
		}
	}
	return out
}

// descendants is everything below root, parents first, the dead included. A process that is reparented while we look may
// be missed; whoever must find all looks again until there is none.
func descendants(root int) []process {
	var out []process
	seen := map[int]bool{root: true}
	for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
		for _, pid := range childrenOf(queue[0]) {
			p, err := look(pid)
			// The pid may be another process's by now: then its parent is none of ours.
			if err != nil || seen[pid] || !seen[p.ppid] {
				continue
			}
			seen[pid] = true
			out = append(out, p)
			queue = append(queue, pid)
		}
	}
	return out
}

// isDescendant says whether p is below root.
func isDescendant(p process, root int) bool {
	for range 1000 { // no tree is that deep; a loop made of reused pids would be endless
		if p.ppid == root {
			return true
		}
		parent, err := look(p.ppid)
		if err != nil || p.ppid <= 1 {
			return false
		}
		p = parent
	}
	return false
}

// signal sends sig to p and never to a later process with its pid: it holds the process first, then looks whether it is
// the one that was meant.
func (p process) signal(sig unix.Signal) error {
	fd, err := p.hold()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

// hold opens a pidfd for p.
func (p process) hold() (fd int, err error) {
	fd, err = unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return -1, err
	}
	now, err := look(p.pid)
	if err == nil && now.start != p.start {
		err = unix.ESRCH
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// hasMark says whether p was started with this mark, or one that begins with it, in its environment.
func (p process) hasMark(mark string) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/environ")
	if err != nil {
		return false
	}
	want := envMark + "=" + mark
	return strings.HasPrefix(string(b), want) || bytes.Contains(b, []byte("\x00"+want))
}

// isAlive says whether pid is still the process that started then.
func isAlive(pid int, start uint64) bool {
	p, err := look(pid)
	return err == nil && p.start == start && !p.dead()
}
