// Package api is how other programs reach a node: HTTP with JSON bodies, here on a unix socket in the data
// directory that only its owner and root may use. The command line is its first client.
//
// Server and Client share the types of this file, so what `--json` prints is what the socket says. Their
// JSON keys are kept: a key may be added, none is renamed or changes its meaning. Times are RFC 3339,
// lengths of time are whole nanoseconds in keys that end in _ns, and a list without members is [], never null.
// docs/api.md shows all of it in use.
package api

import (
	"context"
	"net/http"
	"time"
)

// Node is what the API asks of the node it speaks for.
type Node interface {
	Status() Status
	// Cache does one operation; without a quorum it answers an *Error of kind NoQuorum before ctx ends.
	Cache(ctx context.Context, r CacheRequest) (CacheAnswer, error)
	// Drain hands everything this node leads to others and keeps it from being given back, until on is false.
	Drain(ctx context.Context, on bool) error
	// StepDown hands one legion to the next best node.
	StepDown(ctx context.Context, legion string) error
}

// Status is one node's view of itself and of the cluster.
type Status struct {
	Node     string        `json:"node"` // its name, as everywhere where a node is meant
	ID       string        `json:"id"`   // made at its first start, kept in the data directory
	PID      int           `json:"pid,omitempty"`
	Version  string        `json:"version"`
	Boot     uint32        `json:"boot"` // how often this node was started
	Uptime   time.Duration `json:"uptime_ns"`
	Cluster  string        `json:"cluster"`           // id of the cluster, empty before there is one
	Address  string        `json:"address,omitempty"` // where the other nodes reach it
	HTTP     []string      `json:"http"`              // where it answers HTTP
	Draining bool          `json:"draining"`
	Members  []Member      `json:"members"`
	Groups   []Group       `json:"groups"`
	Legions  []Legion      `json:"legions"`
	Daemons  []Daemon      `json:"daemons"`
	Caches   []Cache       `json:"caches"`
	Counters []Counter     `json:"counters"`
}

// Member is one node as this node sees it.
type Member struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Address string `json:"address"` // empty in a cluster of one
	Alive   bool   `json:"alive"`
	Self    bool   `json:"self"` // the node that was asked
	Role    string `json:"role"` // voter, client, or joining
	Boot    uint32 `json:"boot"`
}

// Group is one raft group as this node sees it. An empty leader means that nobody can agree on changes now.
type Group struct {
	Name    string   `json:"name"`   // control agrees on lords, cache on caches
	Leader  string   `json:"leader"` // node name
	Term    uint64   `json:"term"`
	Applied uint64   `json:"applied"` // index of the last entry applied here
	Voters  []string `json:"voters"`  // node names
	Others  []string `json:"others"`  // node names: they follow and do not vote
	Ops     uint64   `json:"ops"`     // asked for through this node since its start
	Batches uint64   `json:"batches"` // that carried them to the leader
}

// Legion is one legion as this node sees it.
type Legion struct {
	Name     string         `json:"name"`
	Lord     string         `json:"lord"`         // node name, empty when nobody rules
	Epoch    uint64         `json:"epoch"`        // of the last lordship: it only grows, so it can fence
	Phase    string         `json:"phase"`        // of the lease: vacant, offered, held, releasing, revoked
	IsLord   bool           `json:"is_lord"`      // this node, now
	ValidFor time.Duration  `json:"valid_for_ns"` // 0 unless this node is lord
	Votes    int            `json:"votes"`        // for the best member, as this node counts
	Quorum   int            `json:"quorum"`
	Reason   string         `json:"reason,omitempty"` // why nobody rules
	Members  []LegionMember `json:"members"`
}

// LegionMember is one node that announces itself to a legion.
type LegionMember struct {
	Node     string `json:"node"`
	Valor    int64  `json:"valor"`   // the greatest rules
	Arbiter  bool   `json:"arbiter"` // votes and never rules
	Draining bool   `json:"draining"`
	Vote     string `json:"vote"` // node name, empty when it votes for nobody
	Scroll   string `json:"scroll,omitempty"`
}

// Daemon is one external program this node looks after.
type Daemon struct {
	Name     string    `json:"name"`
	Legion   string    `json:"legion,omitempty"` // of the lord that runs it
	Epoch    uint64    `json:"epoch,omitempty"`  // of its lordship
	Command  string    `json:"command"`
	State    string    `json:"state"` // waiting, backoff, starting, running, stopping, stopped, failed
	PID      int       `json:"pid,omitempty"`
	Since    time.Time `json:"since"` // when it came into this state
	Restarts int       `json:"restarts"`
	Lines    []string  `json:"lines,omitempty"` // the last it said
}

// Cache is one cache as this node's table has it.
type Cache struct {
	Name  string `json:"name"`
	Scope string `json:"scope"` // cluster or node
	Items int    `json:"items"`
	Limit int    `json:"limit"`
}

// Counter is a number an operator may ask about: packets refused, retries, lines dropped.
type Counter struct {
	Name  string `json:"name"`
	Value uint64 `json:"value"`
}

// CacheRequest is one operation on a cache. Verb is get, set, update, del, exists, clear, num, inc, dec,
// mul or div.
type CacheRequest struct {
	Verb    string        `json:"verb"`
	Cache   string        `json:"cache,omitempty"`      // empty: the default one
	Key     string        `json:"key"`                  // clear has none
	Value   []byte        `json:"value,omitempty"`      // set, update; base64
	Amount  *int64        `json:"amount,omitempty"`     // num and math; when absent 1 for inc and dec, 2 for mul and div
	Expires time.Duration `json:"expires_ns,omitempty"` // only when the item is created; 0: for ever
	Local   bool          `json:"local,omitempty"`      // read this node's table, which may be behind
}

// CacheAnswer is what came of it.
type CacheAnswer struct {
	Found  bool   `json:"found"`
	Value  []byte `json:"value,omitempty"`  // base64; of a number, its digits
	Number *int64 `json:"number,omitempty"` // when the item is a number: of get, and what num and math made
}

// Drained says whether the node leads nothing and takes nothing.
type Drained struct {
	Draining bool `json:"draining"`
}

// SteppedDown names the legion that was handed over.
type SteppedDown struct {
	Legion string `json:"legion"`
}

// Kind says what sort of failure an Error is, so that a program can act on it.
type Kind string

// The kinds of failure, each with its own HTTP status and exit code.
const (
	Failed      Kind = "failed"      // 500, exit 1: anything else
	BadRequest  Kind = "bad-request" // 400, exit 2: asking again in the same way cannot help
	NotFound    Kind = "not-found"   // 404, exit 1: no such item, cache or legion
	Conflict    Kind = "conflict"    // 409, exit 1: not in the state that things are in
	Unreachable Kind = "unreachable" // never sent: the client could not reach the node; exit 3
	NoQuorum    Kind = "no-quorum"   // 503, exit 4: nobody can decide now; asking again may help
)

// Status is the HTTP status that carries a kind.
func (k Kind) Status() int {
	switch k {
	case BadRequest:
		return http.StatusBadRequest
	case NotFound:
		return http.StatusNotFound
	case Conflict:
		return http.StatusConflict
	case NoQuorum:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// ExitCode is how a program ends that met a failure of this kind.
func (k Kind) ExitCode() int {
	switch k {
	case BadRequest:
		return 2
	case Unreachable:
		return 3
	case NoQuorum:
		return 4
	default:
		return 1
	}
}

// Error is a failure with its kind. Its text says what to do where something can be done.
type Error struct {
	Kind Kind   `json:"kind"`
	Text string `json:"error"`
}

func (e *Error) Error() string { return e.Text }
