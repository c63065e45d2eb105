// Package daemons runs external programs so that none outlives its right to run.
//
// Each legion epoch, and each daemon of no legion, gets a guardian: the same binary started again, in a session of its
// own, that starts the programs, takes their output and restarts them. The guardian knows until when the lease holds and
// ends everything by itself when that time comes, when the node tells it to, and when the node's end of the control
// channel closes. Nothing needs the node to be alive: kill -9 and SIGSTOP of the node leave no orphan and no second copy.
//
// main must begin with
//
//	if daemons.IsGuardian(os.Args) {
//		os.Exit(daemons.GuardianMain())
//	}
//
// Start starts a guardian and returns the node's handle on it; Supervisor does so for daemons of no legion; Sweep ends
// what earlier lives of this node left behind. A Guardian owns its goroutines; all have ended when Down closes.
//
// Who kills whom. The guardian kills at D-K, where D is the end of the lease and K the kill time; the handle in the node
// does the same on its own (two killers, so that either may be stopped); a kernel timer kills a stopped guardian at
// D-K/2, and with it the programs that the guardian itself forked and that kept their credentials. A guardian that is
// killed leaves its orphans to the node, which ends them before Down closes.
//
// Not covered: node and guardian both stopped or killed while a program that put itself into the background runs on
// (until the next Sweep); and, where no cgroup v2 can be written and the guardian itself was killed, a program that has
// both emptied its environment and begun a session of its own, away from its parent: nothing marks it any more.
package daemons

import (
	"time"

	"github.com/cohortd/cohort/clock"
)

// Timing is the times of one grant. A guardian never uses the numbers of an ini.
type Timing struct {
	Lease     time.Duration // L: a renewal sent at t holds until t+L
	Soft      time.Duration // G: this long before the end all is stopped
	Kill      time.Duration // K: this long before the end all is killed
	Grace     time.Duration // TERM to KILL when the node died or gave up; 500 ms
	StopGrace time.Duration // TERM to KILL when all goes to plan; 10 s
	Wait      time.Duration // W: a ticket is repeated this long at most; a little more than Lease
}

// Charge is what one guardian is to run.
type Charge struct {
	Legion      string // empty: of no legion
	Epoch       uint64 // the fencing token
	Node        string
	Boot        uint64 // of the node's process, kept for Sweep
	Daemons     []Daemon
	LordHooks   []string // run before the daemons, in order; a failing one ends the epoch
	UnlordHooks []string // run once when the daemons are gone
	HookTimeout time.Duration
	Timing      Timing
	Since       clock.Reading // when the renewal was sent that the lease counts from
	Forever     bool          // no deadline
	Ticket      []byte        // sent to the voters when the node is dead and everything is down
	Voters      []string      // their addresses
	StateDir    string        // where Sweep will look; empty: nothing is noted
	Env         []string      // of the programs; nil: this process's
}

// Outcome is how a guardian ended.
type Outcome struct {
	HookFailed bool // a lord hook failed or took too long
	Undone     bool // no lord hook's work is left: the unlord hooks ran well, or there was nothing to undo
}

// Defaults of a Charge and of a Daemon.
const (
	defaultGrace       = 500 * time.Millisecond
	defaultStopGrace   = 10 * time.Second
	defaultHookTimeout = 30 * time.Second
	defaultFreq        = 10
)

// State is where a daemon stands.
type State uint8

// The states of a daemon.
const (
	Waiting  State = iota // for the lord hooks before it, or for a lease that is long enough
	Backoff               // it ended, and is not to be started again yet
	Starting              // not yet in its program, or not yet in the background
	Running
	Stopping
	Stopped
	Failed // its guardian was lost
)

var stateNames = [...]string{"waiting", "backoff", "starting", "running", "stopping", "stopped", "failed"}

// String is the state's name.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// MarshalText is the state's name, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Status is one daemon as its guardian last told.
type Status struct {
	Name, Command string
	Legion        string
	Epoch         uint64
	State         State
	PID           int       // 0: none
	Since         time.Time // when State began
	Restarts      int
	LastExit      string   // how it last ended: "exit status 1", "signal: killed"
	LastLines     []string // the end of its output
}
