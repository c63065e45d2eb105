package lord

import (
	"slices"
	"sync"
	"time"

	"github.com/cohortd/cohort/cachefsm/op"
)

// Table holds the state of all legions. New makes one.
type Table struct {
	mu       sync.RWMutex // held by the one who applies only to put results in
	legions  map[string]State
	floor    uint64 // greatest epoch ever granted
	era      uint64
	eraIndex uint64
}

// New returns an empty table.
func New() *Table { return &Table{legions: map[string]State{}} }

// Timed says that no entry is needed just because time passes: leases are counted by whoever grants.
func (t *Table) Timed() bool { return false }

// Advance does nothing: nothing in this table depends on the log's time.
func (t *Table) Advance(time.Duration) {}

// State is what is agreed on a legion, vacant if it was never granted. Safe to call at any time.
func (t *Table) State(legion string) State {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.get(legion)
}

// Legions are the names of all legions that were ever granted, sorted.
func (t *Table) Legions() []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.names()
}

func (t *Table) names() []string {
	names := make([]string, 0, len(t.legions))
	for name := range t.legions {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (t *Table) get(legion string) State {
	s, ok := t.legions[legion]
	if !ok {
		s.Legion = legion
	}
	s.Era, s.EraIndex = t.era, t.eraIndex
	return s
}

func (t *Table) put(s State) {
	t.mu.Lock()
	t.legions[s.Legion] = s
	t.mu.Unlock()
}

// Apply runs one command of the log. The stamp is not used.
func (t *Table) Apply(index uint64, _ time.Duration, cmd []byte) op.Result {
	r := read(cmd)
	if r.Byte() != version {
		return op.Result{Code: op.Invalid}
	}
	switch r.Byte() {
	case kindGrant:
		return t.grant(index, r)
	case kindRenew:
		return t.renew(index, r)
	case kindHandover:
		return t.handover(r)
	case kindRevoke:
		return t.revoke(r)
	case kindRelease:
		return t.release(index, r)
	case kindExpire:
		return t.expire(index, r)
	case kindEra:
		return t.begin(index, r)
	}
	return op.Result{Code: op.Invalid}
}

// Read answers a Query.
func (t *Table) Read(cmd []byte) op.Result {
	r := read(cmd)
	v, kind, legion := r.Byte(), r.Byte(), r.text()
	if v != version || kind != kindQuery || !r.done() {
		return op.Result{Code: op.Invalid}
	}
	return op.Result{Bytes: putState([]byte{version}, t.State(legion))}
}

func (t *Table) grant(index uint64, r *reader) op.Result {
	legion, node, boot, seenVac, numbers := r.text(), r.text(), r.Uvarint(), r.Uvarint(), r.numbers()
	if !r.done() || legion == "" || node == "" || !numbers.sane() {
		return op.Result{Code: op.Invalid}
	}
	s := t.get(legion)
	if s.Phase != Vacant || s.VacIndex != seenVac {
		return op.Result{Code: op.Refused}
	}
	if _, ok := t.legions[legion]; !ok && len(t.legions) >= maxLegions {
		return op.Result{Code: op.Full}
	}
	s.Phase, s.Holder, s.Boot, s.To, s.Numbers = Offered, node, boot, "", numbers
	if node == External {
		s.Phase = Held
	}
	s.RenewIndex, s.RenewSeq = index, 0
	s.Epoch = max(t.era<<eraShift|index&(1<<eraShift-1), t.floor+1)
	t.mu.Lock()
	t.floor = s.Epoch
	t.legions[legion] = s
	t.mu.Unlock()
	return op.Result{Num: int64(s.Epoch)}
}

func (t *Table) renew(index uint64, r *reader) op.Result {
	node, boot := r.text(), r.Uvarint()
	n := r.count(maxLegions)
	list := make([]Renewal, n)
	for i := range list {
		list[i] = Renewal{Legion: r.text(), Epoch: r.Uvarint(), Seq: r.Uvarint()}
	}
	if !r.done() {
		return op.Result{Code: op.Invalid}
	}
	out := op.Result{Code: op.Refused, Bytes: make([]byte, n)}
	for i, one := range list {
		code := t.renewOne(index, node, boot, one)
		out.Bytes[i] = byte(code)
		if code == op.OK {
			out.Code = op.OK
		}
	}
	return out
}

func (t *Table) renewOne(index uint64, node string, boot uint64, one Renewal) op.Code {
	s := t.get(one.Legion)
	if !s.HeldBy(node, boot, one.Epoch) || s.Phase == Revoked {
		return op.Refused
	}
	// A late copy of an older renewal must not lengthen the wait after its sender's death.
	if one.Seq <= s.RenewSeq {
		return op.OK
	}
	if s.Phase == Offered {
		s.Phase = Held
	}
	s.RenewIndex, s.RenewSeq = index, one.Seq
	if one.Seq >= forgiveSeq {
		s.Suspended = without(s.Suspended, node)
	}
	t.put(s)
	return op.OK
}

func (t *Table) handover(r *reader) op.Result {
	legion, epoch, to := r.text(), r.Uvarint(), r.text()
	if !r.done() {
		return op.Result{Code: op.Invalid}
	}
	s := t.get(legion)
	if s.Phase != Held || s.Epoch != epoch {
		return op.Result{Code: op.Refused}
	}
	s.Phase, s.To = Releasing, to
	t.put(s)
	return op.Result{}
}

func (t *Table) revoke(r *reader) op.Result {
	legion, epoch := r.text(), r.Uvarint()
	if !r.done() {
		return op.Result{Code: op.Invalid}
	}
	s := t.get(legion)
	if s.Phase != Releasing || s.Epoch != epoch {
		return op.Result{Code: op.Refused}
	}
	s.Phase = Revoked
	t.put(s)
	return op.Result{}
}

func (t *Table) release(index uint64, r *reader) op.Result {
	legion, epoch, boot, reason := r.text(), r.Uvarint(), r.Uvarint(), Reason(r.Byte())
	if !r.done() || reason == NoReason || reason > Declined {
		return op.Result{Code: op.Invalid}
	}
	s := t.get(legion)
	if s.Phase == Vacant || s.Epoch != epoch || s.Boot != boot {
		return op.Result{Code: op.Refused}
	}
	switch reason {
	case Dead:
		s.Dead = with(s.Dead, s.Holder, boot)
	case Failed:
		s.Suspended = with(s.Suspended, s.Holder, s.Suspended[s.Holder]+1)
	case Planned:
		s.Suspended = without(s.Suspended, s.Holder)
	}
	s.Phase, s.VacIndex, s.Reason, s.To = Vacant, index, reason, ""
	t.put(s)
	return op.Result{}
}

func (t *Table) expire(index uint64, r *reader) op.Result {
	legion, epoch, seenRenew := r.text(), r.Uvarint(), r.Uvarint()
	if !r.done() {
		return op.Result{Code: op.Invalid}
	}
	s := t.get(legion)
	if s.Phase == Vacant || s.Epoch != epoch || s.RenewIndex != seenRenew || s.Holder == External {
		return op.Result{Code: op.Refused}
	}
	s.Reason = Expired
	if s.Phase == Offered {
		s.Reason = Missed
	}
	s.Phase, s.VacIndex, s.To = Vacant, index, ""
	t.put(s)
	return op.Result{}
}

func (t *Table) begin(index uint64, r *reader) op.Result {
	minutes := r.Uvarint()
	if !r.done() {
		return op.Result{Code: op.Invalid}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.era = min(max(t.era+1, minutes), maxEra-1)
	t.eraIndex = index
	for name, s := range t.legions {
		if s.Phase == Vacant {
			s.VacIndex = index
		} else if s.Holder != External {
			s.Phase, s.RenewIndex = Revoked, index
		}
		t.legions[name] = s
	}
	return op.Result{Num: int64(t.era)}
}
