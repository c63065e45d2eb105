package daemons

import (
	"encoding/binary"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cohortd/cohort/clock"
)

// The way from "may this start?" to a running program is closed in three steps, since the guardian may be stopped between
// any two of its instructions:
//
//  1. the guardian asks its deadline and forks; the child is this binary again, the stage, and waits at a socket;
//  2. the guardian puts the child into the cgroup leaf, reads its control channel once more, asks again and sends "go"
//     with the deadline as it is then; if the guardian dies here, the stage reads the end of the file and goes away;
//  3. the stage asks the clocks itself, and the next thing it does is execve.
//
// So a guardian that is stopped after its check and goes on after the deadline starts nothing. What remains is a stop of
// the stage between its last look at the clock and execve: then the program begins late but inside the guardian's tree,
// which both killers end at the kill time, before anybody else may be lord.
const (
	guardianName = "cohort-guardian"
	stageName    = "cohort-stage"
	controlFD    = 3 // of both: the control channel, or the barrier
	exitLate     = 75
	exitNoExec   = 127
	late         = "late" // what the stage tells when its time for a start is over
)

// pass is what the stage needs to know.
type pass struct {
	since   clock.Reading
	limit   time.Duration // no start when more than this has passed since then; negative: no limit
	oom     int64         // oom_score_adj and niceness of programs: the guardian changed its own
	nice    int64
	keepOOM bool
}

const passSize = 7 * 8

func (p pass) encode() []byte {
	b := make([]byte, 0, passSize)
	keep := int64(0)
	if p.keepOOM {
		keep = 1
	}
	for _, v := range []int64{int64(p.since.Boot), int64(p.since.Mono), int64(p.since.Raw), int64(p.limit), p.oom, p.nice, keep} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return b
}

func decodePass(b []byte) pass {
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[8*i:])) }
	return pass{
		since: clock.Reading{Boot: time.Duration(at(0)), Mono: time.Duration(at(1)), Raw: time.Duration(at(2))},
		limit: time.Duration(at(3)), oom: at(4), nice: at(5), keepOOM: at(6) == 1,
	}
}

// late says that the time for a start is over.
func (p pass) over(now clock.Reading) bool {
	return p.limit >= 0 && now.Longest(p.since) > p.limit
}

// stage waits for the guardian's go and becomes the program. It returns only if it did not.
func stage(args []string) int {
	runtime.LockOSThread() // niceness belongs to a thread
	syscall.CloseOnExec(controlFD)
	b := make([]byte, passSize)
	n, err := readFull(controlFD, b)
	if err != nil || n < passSize || len(args) < 2 {
		return exitLate
	}
	p := decodePass(b)
	if !p.keepOOM {
		os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.FormatInt(p.oom, 10)), 0) //nolint:errcheck // best effort
	}
	unix.Setpriority(unix.PRIO_PROCESS, 0, int(p.nice)) //nolint:errcheck // best effort
	env := os.Environ()
	path, words := argv(args[1], func(name string) string { return findProgram(name, lookup(env, "PATH")) })
	if p.over(clock.System{}.Now()) {
		tell(late)
		return exitLate
	}
	tell(syscall.Exec(path, words, env).Error())
	return exitNoExec
}

func tell(text string) {
	unix.Write(controlFD, []byte(text)) //nolint:errcheck // nobody may be there any more
}

func readFull(fd int, b []byte) (n int, err error) {
	for n < len(b) {
		m, err := unix.Read(fd, b[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || m == 0 {
			return n, err
		}
		n += m
	}
	return n, nil
}
