package node

import (
	"context"
	"errors"
	"slices"

	"github.com/cohortd/cohort/legion"
	"github.com/cohortd/cohort/router"
)

// openTickets makes this node take release tickets, also those of legions it is not in.
func (n *Node) openTickets() {
	n.tickets = &legion.Tickets{
		Keys:    n.ticketKeys(),
		Control: control{n.control, n, ""}, State: n.lords.State, Leader: n.control.Leader, Rank: n.rank,
		Peers: legionPeers{n}, Campaign: n.control.Campaign, Log: n.log,
	}
}

// takeTicket answers a frame that came without TLS: only a release ticket's own seal counts here.
func (n *Node) takeTicket(payload []byte) []byte {
	return n.tickets.Handle(payload)
}

// rank is this node's place among the voters of the control group, so that two do not stand for election
// in the same moment.
func (n *Node) rank() int {
	voters, _ := n.control.Members()
	slices.Sort(voters)
	return max(slices.Index(voters, n.id.ID), 0)
}

var errUnknownScroll = errors.New("no such scroll here")

func (n *Node) giveScroll(_ context.Context, _ string, request []byte) ([]byte, error) {
	for _, l := range n.legions {
		if scroll, ok := l.HandleScroll(request); ok {
			return scroll, nil
		}
	}
	return nil, errUnknownScroll
}

// legionMenu is what rules can ask of the legions: lord:NAME is computed at the moment it is asked.
func (n *Node) legionMenu() router.Menu {
	return router.Menu{Conditions: map[string]router.ConditionBuilder{"lord": router.Lord(func(name string) bool {
		l := n.legion(name)
		return l != nil && l.IsLord()
	})}}
}

// ticketKeys are what release tickets may be sealed with: a guardian started before the secret was changed
// has the old one's.
func (n *Node) ticketKeys() [][]byte {
	keys := [][]byte{n.keys.Derive(ticketInfo)}
	if old := n.keys.DeriveOld(ticketInfo); old != nil {
		keys = append(keys, old)
	}
	return keys
}

const ticketInfo = "release tickets"
