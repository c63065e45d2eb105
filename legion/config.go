package legion

import (
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
)

// Config is one legion as the ini gives it.
type Config struct {
	Name                                     string
	Addr                                     string // ip:port of uWSGI's datagrams, empty for none
	Valor                                    int64  // 0 is an arbiter: it votes and never rules
	Cipher                                   string // as written before the secret's colon, such as bf-cbc
	Secret                                   string
	OldSecret                                string // still accepted while a secret is changed
	IV                                       string
	Nodes                                    []string // legion-node, for uWSGI's datagrams
	Quorum                                   int      // votes it takes, own vote included; 0 counts as 1
	Scroll                                   string
	Lord, Unlord                             []string      // hook commands, run under the guardian
	Setup, Join, Death, NodeJoined, NodeLeft []string      // hook commands, run by the node
	HookTimeout                              time.Duration // for each hook; 30 s
	LordError                                time.Duration // legion-death-on-lord-error: suspension after a failed lord hook; 0: 3 s
	PreemptDelay                             time.Duration // how long a stronger node must be eligible before it takes over; 10 s
	NoPreempt                                bool
	Announce                                 time.Duration // announce interval; 1 s
	Numbers                                  lord.Numbers
	Where                                    string // file:line, for messages
}
