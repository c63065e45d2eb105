package lord

import (
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/cohortd/cohort/cachefsm/op"
)

// version is the first byte of every command, answer and snapshot.
const version = 1

var errFormat = errors.New("lord: cannot be decoded")

// reader is op's reader with the bounds of this table.
type reader struct {
	op.Reader
	over bool // something was larger than this table takes
}

func read(b []byte) *reader { return &reader{Reader: op.Read(b)} }

func (r *reader) text() string {
	b := r.Bytes()
	r.over = r.over || len(b) > maxName
	return string(b)
}

func (r *reader) time() time.Duration {
	return time.Duration(min(r.Uvarint(), math.MaxInt64))
}

// count reads how many of something follow, each of at least one byte.
func (r *reader) count(most int) int {
	n := r.Uvarint()
	if n > uint64(most) || n > uint64(r.Len()) {
		r.over = true
		return 0
	}
	return int(n)
}

func (r *reader) done() bool { return r.Done() && !r.over }

// rhoUnit makes a whole number of a rate: the wire has no fractions, and a millionth is finer than any clock.
const rhoUnit = 1e6

func putNumbers(b []byte, n Numbers) []byte {
	for _, d := range []time.Duration{n.Lease, n.Renew, n.Retry, n.Soft, n.Kill, n.Stall, n.Reap, n.Grace, n.StopGrace, n.Offer} {
		b = op.Uvarint(b, uint64(max(d, 0)))
	}
	return op.Uvarint(b, uint64(math.Round(min(max(n.Rho, 0), 1)*rhoUnit)))
}

func (r *reader) numbers() Numbers {
	n := Numbers{
		Lease: r.time(), Renew: r.time(), Retry: r.time(), Soft: r.time(), Kill: r.time(),
		Stall: r.time(), Reap: r.time(), Grace: r.time(), StopGrace: r.time(), Offer: r.time(),
	}
	n.Rho = float64(min(r.Uvarint(), rhoUnit)) / rhoUnit
	return n
}

func sorted(m map[string]uint64) []string { return slices.Sorted(maps.Keys(m)) }

func putMarks(b []byte, m map[string]uint64) []byte {
	b = op.Uvarint(b, uint64(len(m)))
	for _, name := range sorted(m) {
		b = op.Uvarint(op.Bytes(b, name), m[name])
	}
	return b
}

func (r *reader) marks() map[string]uint64 {
	n := r.count(maxMarks)
	if n == 0 {
		return nil
	}
	m := make(map[string]uint64, n)
	for range n {
		name := r.text()
		m[name] = r.Uvarint()
	}
	return m
}

func putState(b []byte, s State) []byte {
	b = op.Bytes(b, s.Legion)
	b = append(b, byte(s.Phase), byte(s.Reason))
	b = op.Uvarint(b, s.Epoch)
	b = op.Bytes(b, s.Holder)
	b = op.Uvarint(b, s.Boot)
	b = op.Bytes(b, s.To)
	b = putNumbers(b, s.Numbers)
	for _, v := range []uint64{s.RenewIndex, s.RenewSeq, s.VacIndex} {
		b = op.Uvarint(b, v)
	}
	b = putMarks(putMarks(b, s.Dead), s.Suspended)
	return op.Uvarint(op.Uvarint(b, s.Era), s.EraIndex)
}

func (r *reader) state() State {
	s := State{Legion: r.text()}
	phase, reason := r.Byte(), r.Byte()
	s.Phase, s.Reason = Phase(phase), Reason(reason)
	s.Epoch = r.Uvarint()
	s.Holder = r.text()
	s.Boot = r.Uvarint()
	s.To = r.text()
	s.Numbers = r.numbers()
	s.RenewIndex, s.RenewSeq, s.VacIndex = r.Uvarint(), r.Uvarint(), r.Uvarint()
	s.Dead, s.Suspended = r.marks(), r.marks()
	s.Era, s.EraIndex = r.Uvarint(), r.Uvarint()
	if s.Phase > Revoked || s.Reason > Expired {
		r.over = true
	}
	return s
}

// DecodeState reads the answer to a Query.
func DecodeState(b []byte) (State, error) {
	r := read(b)
	if r.Byte() != version {
		return State{}, errFormat
	}
	s := r.state()
	if !r.done() {
		return State{}, errFormat
	}
	return s, nil
}
