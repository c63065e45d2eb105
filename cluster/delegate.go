package cluster

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist asks and tells. Its methods are called with memberlist's locks held, so they
// only note things; nobody must be waited for.
type delegate struct{ c *Cluster }

func (d delegate) NodeMeta(limit int) []byte {
	b := d.c.metaBytes()
	if len(b) > limit {
		return nil // appendMeta's bounds do not let it come to this
	}
	return b
}

// NotifyMsg gets an announcement. memberlist uses the memory again.
func (d delegate) NotifyMsg(msg []byte) { d.c.gossipArrived(append([]byte(nil), msg...)) }

func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.c.queue.GetBroadcasts(overhead, limit)
}

func (d delegate) LocalState(bool) []byte { return appendState(nil, d.c.gossipState()) }

func (d delegate) MergeRemoteState(buf []byte, _ bool) {
	for _, msg := range parseState(buf) {
		d.c.gossipArrived(append([]byte(nil), msg...))
	}
}

// NotifyAlive refuses nodes that cannot be understood or belong to another cluster, however the news of
// them came.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	if _, _, ok := parseBootName(n.Name); !ok {
		return fmt.Errorf("%q is no node of ours", n.Name)
	}
	_, m, err := parseMeta(n.Meta)
	if err != nil {
		return err
	}
	if ours := d.c.clusterID(); areForeign(ours, m.ClusterID) {
		err := &ForeignError{Addr: n.Address(), Ours: ours, Theirs: m.ClusterID}
		d.c.foreigners.note(&net.TCPAddr{IP: n.Addr, Port: int(n.Port)}, err)
		d.c.view.lose(n.Name) // it may have been in no cluster before
		return err
	}
	return nil
}

func (d delegate) NotifyJoin(n *memberlist.Node)   { d.c.view.see(n.Name, n.Address(), n.Meta) }
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.c.view.see(n.Name, n.Address(), n.Meta) }

func (d delegate) NotifyLeave(n *memberlist.Node) { d.c.view.lose(n.Name) }

// appendState encodes announcements for a state exchange: each after its length. Exchanges are bounded; what
// does not fit waits for its own broadcast.
func appendState(dst []byte, msgs [][]byte) []byte {
	for _, m := range msgs {
		if len(dst)+len(m) > longestState {
			break
		}
		dst = binary.AppendUvarint(dst, uint64(len(m)))
		dst = append(dst, m...)
	}
	return dst
}

const longestState = 4 << 20

// parseState decodes appendState's result, up to the first thing that makes no sense.
func parseState(b []byte) (msgs [][]byte) {
	for len(b) > 0 {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			break
		}
		msgs = append(msgs, b[k:k+int(n)])
		b = b[k+int(n):]
	}
	return msgs
}

// lineLog makes memberlist's log lines debug records: what an operator should know of, this package says
// itself.
type lineLog struct{ log *slog.Logger }

func (l lineLog) Write(line []byte) (int, error) {
	n := len(line)
	for n > 0 && line[n-1] == '\n' {
		n--
	}
	l.log.Debug("memberlist", "says", string(line[:n]))
	return len(line), nil
}
