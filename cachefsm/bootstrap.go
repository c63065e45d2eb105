package cachefsm

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// Candidate is what a node that could start a cluster says of itself.
type Candidate struct {
	ID        string
	Expect    int    // how many nodes the cluster starts with
	Fresh     bool   // it has no state
	ClusterID string // of the cluster it belongs to; empty: none
	Client    bool   // it never votes
	Sees      string // MemberSet of those it sees
}

// MemberSet names a set of nodes: two nodes that see the same nodes name them alike.
func MemberSet(ids []string) string {
	sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(ids)), "\n")))
	return hex.EncodeToString(sum[:8])
}

// ShouldBootstrap decides whether self starts the cluster, and with which voters. Only one node ever may:
// the lowest id, once as many as expected, all without state, say the same number and see the same nodes,
// and nobody knows of a cluster. all holds self too.
func ShouldBootstrap(self Candidate, all []Candidate, expect int) (voters []string, ok bool) {
	if expect < 1 || self.Client {
		return nil, false
	}
	for _, c := range all {
		if c.ClusterID != "" || !c.Fresh {
			return nil, false
		}
		if c.Client {
			continue
		}
		if c.Expect != expect || c.Sees != self.Sees {
			return nil, false
		}
		voters = append(voters, c.ID)
	}
	slices.Sort(voters)
	voters = slices.Compact(voters)
	if len(voters) < expect || voters[0] != self.ID {
		return nil, false
	}
	return voters[:min(len(voters), maxVoters)], true
}
