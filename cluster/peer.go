package cluster

import (
	"context"
	"fmt"
	"sync"
)

// Peer is a connection to one node for a program that has the secret and is no member itself.
type Peer struct {
	up       *caller
	id       string
	counters counters
	wg       sync.WaitGroup
}

// DialPeer connects to a node. The other end sees id, which must be a uuid, as the caller's.
func DialPeer(ctx context.Context, addr string, keys *Keys, id string) (*Peer, error) {
	return dialPeer(ctx, machine{}, addr, keys, id)
}

func dialPeer(ctx context.Context, network Network, addr string, keys *Keys, id string) (*Peer, error) {
	tls, err := keys.tlsConfig(id)
	if err != nil {
		return nil, err
	}
	d := dialler{net: network, tls: tls, cluster: func() string { return "" }}
	conn, err := d.dial(ctx, addr, kindFrames, "")
	if err != nil {
		return nil, fmt.Errorf("connect to a node: %w", err)
	}
	return newPeer(conn), nil
}

func newPeer(conn *peerConn) *Peer {
	p := &Peer{id: conn.id}
	p.up = newCaller(conn, &p.counters)
	p.wg.Go(p.up.write)
	p.wg.Go(p.up.read)
	return p
}

// ID is the id of the node that answers.
func (p *Peer) ID() string { return p.id }

// Call asks the node, as Cluster.Call does. It may be called from many goroutines.
func (p *Peer) Call(ctx context.Context, kind FrameKind, payload []byte) ([]byte, error) {
	if len(payload) > LongestFrame {
		return nil, ErrTooLong
	}
	return p.up.call(ctx, kind, payload)
}

// Close ends the connection; calls that wait get ErrLost.
func (p *Peer) Close() error {
	p.up.fail(ErrLost)
	p.wg.Wait()
	return nil
}
