package node

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"github.com/cohortd/cohort/api"
	"github.com/cohortd/cohort/cachefsm"
	"github.com/cohortd/cohort/cluster"
)

// counters are the numbers an operator may ask about.
func (n *Node) counters() []api.Counter {
	out := []api.Counter{}
	add := func(name string, value uint64) { out = append(out, api.Counter{Name: name, Value: value}) }
	for _, l := range n.legions {
		s, p := l.Stats(), "legion."+l.Name()+"."
		add(p+"announced", s.Announced)
		add(p+"heard", s.Heard)
		add(p+"refused.foreign", s.Refused.Foreign)
		add(p+"refused.malformed", s.Refused.Malformed)
		add(p+"refused.bad_seal", s.Refused.BadSeal)
		add(p+"refused.old_boot", s.Refused.OldBoot)
		add(p+"renewals", s.Renewals)
		add(p+"renewals_unanswered", s.RenewalsUnanswered)
		add(p+"gained", s.Gained)
		add(p+"lost", s.Lost)
		add(p+"lord_changes", s.LordChanges)
		add(p+"alarms", s.Alarms)
		add(p+"hooks_failed", s.HooksFailed)
	}
	for name, g := range map[string]*cachefsm.Group{"control": n.control, "cache": n.cache} {
		s, p := g.Stats(), "group."+name+"."
		add(p+"ops", s.Ops)
		add(p+"batches", s.Batches)
		add(p+"forwarded", s.Forwarded)
		add(p+"retries", s.Retries)
		add(p+"reads", s.Reads)
		add(p+"read_rounds", s.ReadRounds)
		add(p+"ticks", s.Ticks)
		add(p+"late_heartbeats", s.LateHeartbeats)
	}
	t := n.tickets.Stats()
	add("tickets.applied", t.Applied)
	add("tickets.refused", t.Refused)
	r := n.router.Stats()
	add("requests", r.Requests)
	add("requests.failed_rules", r.Failures)
	add("requests.refused", n.gateway.Stats().Refused)
	if n.cluster == nil {
		return sorted(out)
	}
	c := n.cluster.Stats()
	add("port.packets_refused", c.PacketsRefused)
	add("port.packets_dropped", c.PacketsDropped)
	add("port.handshakes_failed", c.HandshakesFailed)
	add("port.silent", c.Silent)
	add("port.evicted", c.Evicted)
	add("port.unknown_bytes", c.UnknownBytes)
	add("port.foreign", c.Foreign)
	add("port.plain", c.Plain)
	add("port.plain_refused", c.PlainRefused)
	add("port.frames_out", c.FramesOut)
	add("port.frames_in", c.FramesIn)
	add("port.dials_failed", c.DialsFailed)
	return sorted(out)
}

func sorted(all []api.Counter) []api.Counter {
	slices.SortFunc(all, func(a, b api.Counter) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// setDraining tells the others that this node wants to lead nothing.
func (n *Node) setDraining(on bool) {
	n.draining.Store(on)
	if n.cluster != nil {
		n.cluster.SetMeta(func(m *cluster.Meta) { m.Draining = on })
	}
}

// newUUID is a random id in the form of RFC 9562, version 4.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
