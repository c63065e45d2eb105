package cluster

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Stats is what the port has seen since the start.
type Stats struct {
	PacketsRefused   uint64 `json:"packets_refused"`   // UDP that the secret does not open
	PacketsDropped   uint64 `json:"packets_dropped"`   // UDP that came faster than it was read
	Pending          int    `json:"pending"`           // connections in their handshake now
	HandshakesFailed uint64 `json:"handshakes_failed"` // TLS with another secret, or not TLS after all
	Silent           uint64 `json:"silent"`            // connections that said nothing
	Evicted          uint64 `json:"evicted"`           // connections closed because too many were in their handshake
	UnknownBytes     uint64 `json:"unknown_bytes"`     // connections that began with neither TLS nor a plain request
	Foreign          uint64 `json:"foreign"`           // nodes of another cluster with the same secret
	Plain            uint64 `json:"plain"`             // plain requests answered
	PlainRefused     uint64 `json:"plain_refused"`     // and not answered
	FramesOut        uint64 `json:"frames_out"`        // frames sent
	WritesOut        uint64 `json:"writes_out"`        // writes that carried them
	FramesIn         uint64 `json:"frames_in"`         // frames received
	SendsDropped     uint64 `json:"sends_dropped"`     // one-way frames that found no way
	Dials            uint64 `json:"dials"`             // frame connections made
	DialsFailed      uint64 `json:"dials_failed"`      // and not made
	GossipIn         uint64 `json:"gossip_in"`         // announcements received
	GossipNews       uint64 `json:"gossip_news"`       // of which new to this node
}

type counters struct {
	packetsRefused, packetsDropped   atomic.Uint64
	handshakes, silent, evicted      atomic.Uint64
	unknownBytes, foreign            atomic.Uint64
	plain, plainRefused              atomic.Uint64
	framesOut, writesOut, framesIn   atomic.Uint64
	sendsDropped, dials, dialsFailed atomic.Uint64
	gossipIn, gossipNews             atomic.Uint64
}

// Stats are the counters as they stand.
func (c *Cluster) Stats() Stats {
	n := &c.counters
	return Stats{
		PacketsRefused: n.packetsRefused.Load(), PacketsDropped: n.packetsDropped.Load(),
		Pending: c.waiting.len(), HandshakesFailed: n.handshakes.Load(), Silent: n.silent.Load(), Evicted: n.evicted.Load(),
		UnknownBytes: n.unknownBytes.Load(), Foreign: n.foreign.Load(),
		Plain: n.plain.Load(), PlainRefused: n.plainRefused.Load(),
		FramesOut: n.framesOut.Load(), WritesOut: n.writesOut.Load(), FramesIn: n.framesIn.Load(),
		SendsDropped: n.sendsDropped.Load(), Dials: n.dials.Load(), DialsFailed: n.dialsFailed.Load(),
		GossipIn: n.gossipIn.Load(), GossipNews: n.gossipNews.Load(),
	}
}

// complaint gathers what may happen thousands of times a second into one line now and then.
type complaint struct {
	mu    sync.Mutex
	count int
	from  net.Addr
	err   error
	told  time.Time
}

// complainEvery is the least time between two lines of one kind.
const complainEvery = 30 * time.Second

func (o *complaint) note(from net.Addr, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count++
	o.from, o.err = from, err
}

// tell logs what was noted since the last line, unless that was a moment ago.
func (o *complaint) tell(log *slog.Logger, msg string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.count == 0 || !o.told.IsZero() && time.Since(o.told) < complainEvery {
		return
	}
	log.Warn(msg, "times", o.count, "last_from", o.from.String(), "err", o.err)
	o.count, o.told = 0, time.Now()
}
