package cachefsm

import (
	"errors"
	"fmt"

	"github.com/cohortd/cohort/cachefsm/op"
)

// ErrNoLeader says that nobody can agree on anything right now; asking again later may help.
var ErrNoLeader = errors.New("cachefsm: no leader")

// ErrUnknown says that the op was sent and nothing was heard: it may or may not have been applied.
var ErrUnknown = errors.New("cachefsm: outcome unknown")

// ErrClosed says that the group has ended, or has not started.
var ErrClosed = errors.New("cachefsm: group is not running")

// Statuses of an answer to a forwarded chunk. They travel between nodes: numbers are never reused.
const (
	statusOK        = 0 // results follow
	statusNotLeader = 1 // who is, as far as known, follows; nothing was applied
	statusUnknown   = 2 // leadership went away meanwhile: send the same chunk again
	statusBad       = 3 // the chunk cannot be read here
)

// answer is what a leader says to a chunk.
type answer struct {
	status  byte
	leader  string
	results []op.Result
}

func (a answer) encode(limit int) []byte {
	switch a.status {
	case statusOK:
		b, _ := op.AppendResults([]byte{statusOK}, a.results, limit)
		return b
	case statusNotLeader:
		return op.Bytes([]byte{statusNotLeader}, a.leader)
	}
	return []byte{a.status}
}

// parseAnswer reads an answer to a chunk of count ops. Results may be fewer: answers have a limit.
func parseAnswer(b []byte, count int) (a answer, err error) {
	if len(b) == 0 {
		return a, errors.New("empty answer")
	}
	a.status = b[0]
	switch a.status {
	case statusOK:
		var ok bool
		a.results, ok = op.ParseResults(make([]op.Result, 0, min(count, len(b))), b[1:], count)
		if !ok || len(a.results) == 0 && count > 0 {
			return a, errors.New("answer cannot be read")
		}
	case statusNotLeader:
		r := op.Read(b[1:])
		if a.leader = string(r.Bytes()); !r.Done() {
			return a, errors.New("answer cannot be read")
		}
	case statusUnknown:
	default:
		return a, fmt.Errorf("chunk refused with status %d", a.status)
	}
	return a, nil
}
