package cachefsm

import "time"

// Stats is what an operator may ask of a group.
type Stats struct {
	Leader  string
	Term    uint64
	Leading bool
	State   string // Follower, Candidate, Leader, Shutdown
	Voters  []string
	Others  []string

	Applied     uint64        // index of the last entry applied here
	Committed   uint64        // index of the last entry known to be agreed
	Time        time.Duration // of the table
	LastContact time.Duration // since the leader was heard; 0 on the leader

	Ops, Batches   uint64 // by callers of this node
	OpsPerBatch    float64
	Forwarded      uint64 // batches sent to another leader
	Retries        uint64 // batches sent again
	Reads          uint64 // fresh ones, by callers of this node
	ReadRounds     uint64 // times the voters were asked, on the leader
	Ticks          uint64 // entries for their time alone
	LateHeartbeats uint64 // members that did not answer in time, seen by the leader
}

// Stats counts since Open.
func (g *Group) Stats() Stats {
	s := Stats{
		Leader: g.Leader(), State: g.raft.State().String(),
		Applied: g.machine.index.Load(), Committed: g.raft.CommitIndex(), Time: g.machine.time(),
		Ops: g.writes.ops.Load(), Batches: g.writes.batches.Load(),
		Forwarded: g.writes.forward.Load() + g.reads.forward.Load(),
		Retries:   g.writes.retries.Load() + g.reads.retries.Load(),
		Reads:     g.reads.ops.Load(), ReadRounds: g.rounds.Load(), Ticks: g.ticks.Load(), LateHeartbeats: g.late.Load(),
	}
	s.Term, s.Leading = g.Leading()
	s.Voters, s.Others = g.Members()
	if s.Batches > 0 {
		s.OpsPerBatch = float64(s.Ops) / float64(s.Batches)
	}
	if last := g.raft.LastContact(); !s.Leading && !last.IsZero() {
		s.LastContact = time.Since(last)
	}
	return s
}
