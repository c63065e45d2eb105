package lord

import (
	"fmt"
	"maps"
)

// Phase is where a legion's grant stands.
type Phase uint8

// The phases. Their numbers are stored in snapshots and never change.
const (
	Vacant    Phase = 0 // nobody may rule
	Offered   Phase = 1 // granted, not yet renewed: nobody rules
	Held      Phase = 2 // renewed by its holder
	Releasing Phase = 3 // the holder was asked to stop; it may renew while it does
	Revoked   Phase = 4 // the holder may not renew any more; its lease runs out
)

func (p Phase) String() string {
	switch p {
	case Vacant:
		return "vacant"
	case Offered:
		return "offered"
	case Held:
		return "held"
	case Releasing:
		return "releasing"
	case Revoked:
		return "revoked"
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

// Reason says how an epoch ended.
type Reason uint8

// The reasons. The first five come in a Release, the others from the table itself. Their numbers never change.
const (
	NoReason Reason = 0 // none has ended yet
	Planned  Reason = 1 // handed over, drained or stopped, everything down
	Dead     Reason = 2 // the node's main process died and everything it ran is gone
	Failed   Reason = 3 // a lord hook failed: the node is suspended for a while
	Lost     Reason = 4 // the lease came too near its end; everything is down
	Declined Reason = 5 // the node was offered it and does not want it now
	Missed   Reason = 6 // the offer was not taken in time
	Expired  Reason = 7 // the lease ran out
)

func (r Reason) String() string {
	switch r {
	case NoReason:
		return "none"
	case Planned:
		return "planned"
	case Dead:
		return "dead"
	case Failed:
		return "failed"
	case Lost:
		return "lost"
	case Declined:
		return "declined"
	case Missed:
		return "missed"
	case Expired:
		return "expired"
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// External is the holder that stands for a uWSGI node outside of the cluster (R33): it never renews and never expires.
const External = "external"

// State is what is agreed on one legion. It is a copy: it never changes, and its maps must not be written to.
// When Phase is Vacant, the fields of the grant tell of the last one.
type State struct {
	Legion     string
	Phase      Phase
	Epoch      uint64 // grows with every grant, over all legions and eras
	Holder     string // node id
	Boot       uint64 // of the holder
	To         string // whom the holder was asked to make place for; "" is anybody
	Numbers    Numbers
	RenewIndex uint64 // log index of the last renewal, or of the grant
	RenewSeq   uint64 // greatest sequence renewed
	VacIndex   uint64 // log index that made it vacant
	Reason     Reason // how the last epoch ended

	Dead      map[string]uint64 // node -> boot that is known dead
	Suspended map[string]uint64 // node -> failed lord hooks in a row

	Era      uint64 // grows when a log was recovered or restored: its indexes may repeat
	EraIndex uint64 // log index that began the era; 0 for the first
}

// HeldBy says whether the grant, in whatever phase but vacant, is this boot's.
func (s State) HeldBy(node string, boot, epoch uint64) bool {
	return s.Phase != Vacant && s.Holder == node && s.Boot == boot && s.Epoch == epoch
}

const (
	maxName    = 255     // bytes of a legion's or a node's name
	maxLegions = 1024    // in one table
	maxMarks   = 256     // dead or suspended nodes of one legion
	eraShift   = 40      // an epoch is the era above this bit and the log index below it
	maxEra     = 1 << 24 // what is left above; minutes reach it in 2055
	forgiveSeq = 240     // a lord that renewed this often in one epoch has its failures forgiven
)

// with returns m with one more entry, without touching m. Past maxMarks the first name goes: losing such a mark costs
// time, not safety.
func with(m map[string]uint64, name string, value uint64) map[string]uint64 {
	out := make(map[string]uint64, len(m)+1)
	maps.Copy(out, m)
	if _, ok := out[name]; !ok && len(out) >= maxMarks {
		delete(out, sorted(out)[0])
	}
	out[name] = value
	return out
}

func without(m map[string]uint64, name string) map[string]uint64 {
	if _, ok := m[name]; !ok {
		return m
	}
	out := maps.Clone(m)
	delete(out, name)
	return out
}

// EraOf is the era in which an epoch was granted.
func EraOf(epoch uint64) uint64 { return epoch >> eraShift }
