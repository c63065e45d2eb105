package daemons

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// remains is what one guardian has started, seen from outside of it.
type remains struct {
	pid      int // the guardian
	start    uint64
	leaf     leaf
	token    string
	sessions []int          // of its programs, as it last told
	seen     map[int]uint64 // processes that were found to be its, by start time
}

// slay kills all that the guardian has started, then the guardian. It is stopped first: then it starts nothing more, and
// as the subreaper of what we kill it keeps orphans from getting away.
func (r *remains) slay() {
	guardian := process{pid: r.pid, start: r.start}
	fd, err := guardian.hold()
	if err != nil {
		return // gone; clear finds the rest
	}
	defer unix.Close(fd)
	unix.PidfdSendSignal(fd, unix.SIGSTOP, nil, 0) //nolint:errcheck // gone already
	r.leaf.kill()                                  //nolint:errcheck // then by tree
	for range 50 {
		alive := slices.DeleteFunc(descendants(r.pid), process.dead)
		if len(alive) == 0 {
			break
		}
		r.kill(alive)
		time.Sleep(2 * time.Millisecond)
	}
	unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) //nolint:errcheck // gone already
}

func (r *remains) kill(ps []process) {
	if r.seen == nil {
		r.seen = map[int]uint64{}
	}
	for _, p := range ps {
		r.seen[p.pid] = p.start
		p.signal(unix.SIGKILL) //nolint:errcheck // gone already
	}
}

// find is what of it still runs: in its leaf, with its mark, in a session of its programs when it has come down to us, and
// whatever is below any of these.
func (r *remains) find() []process {
	self := os.Getpid()
	own := map[int]bool{}
	for _, p := range r.leaf.processes() {
		own[p.pid] = true
	}
	for _, p := range descendants(self) {
		if slices.Contains(r.sessions, p.session) {
			own[p.pid] = true
		}
	}
	all := everyone()
	for _, p := range all {
		if p.hasMark(r.token) {
			own[p.pid] = true
		}
	}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if own[p.ppid] && !own[p.pid] {
				own[p.pid], grown = true, true
			}
		}
	}
	delete(own, self)
	return slices.DeleteFunc(all, func(p process) bool { return !own[p.pid] || p.dead() })
}

// clear kills until nothing is left, however long that takes: a process in an uninterruptible sleep still is a second copy.
// Two looks must find nothing, since a process can be born behind the back of one.
func (r *remains) clear(ctx context.Context, log *slog.Logger) error {
	pause := 2 * time.Millisecond
	complain := time.Now().Add(5 * time.Second)
	for empty := 0; empty < 2; {
		found := r.find()
		if len(found) == 0 {
			empty++
			continue
		}
		empty = 0
		r.leaf.kill() //nolint:errcheck // then one by one
		r.kill(found)
		if time.Now().After(complain) {
			complain = time.Now().Add(5 * time.Second)
			log.Error("a process does not die", "pid", found[0].pid, "state", string(rune(found[0].state)))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
	r.bury()
	return nil
}

// bury reaps what has come down to this process. It waits for known orphans only: other children have their own waiters.
func (r *remains) bury() {
	self := os.Getpid()
	for _, pid := range childrenOf(self) {
		p, err := look(pid)
		if err != nil || !p.dead() || p.ppid != self {
			continue
		}
		if start, ok := r.seen[pid]; ok && start == p.start || slices.Contains(r.sessions, p.session) {
			unix.Wait4(pid, nil, unix.WNOHANG, nil) //nolint:errcheck // reaped already
		}
	}
}
