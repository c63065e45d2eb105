package memnet

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// packetConn is an open UDP port.
type packetConn struct {
	host  *Host
	addr  netip.AddrPort
	inbox inbox
}

// inbox is what arrived and was not read: as in a socket, what does not fit is lost.
type inbox struct {
	mu     sync.Mutex
	cond   sync.Cond
	queue  []packet
	closed bool
	readBy deadline
}

type packet struct {
	data []byte
	from netip.AddrPort
}

const inboxSize = 1024

func (p *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	in := &p.inbox
	in.mu.Lock()
	defer in.mu.Unlock()
	for {
		switch {
		case in.closed:
			return 0, nil, &net.OpError{Op: "read", Net: "udp", Err: net.ErrClosed}
		case in.readBy.passed():
			return 0, nil, &net.OpError{Op: "read", Net: "udp", Err: os.ErrDeadlineExceeded}
		case len(in.queue) > 0:
			g := in.queue[0]
			in.queue = in.queue[1:]
			return copy(b, g.data), net.UDPAddrFromAddrPort(g.from), nil
		}
		in.cond.Wait()
	}
}

// WriteTo sends a datagram. That it is lost on the way is no error, as on a real network.
func (p *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, err := netip.ParseAddrPort(to.String())
	if err != nil {
		return 0, &net.OpError{Op: "write", Net: "udp", Err: err}
	}
	p.inbox.mu.Lock()
	closed := p.inbox.closed
	p.inbox.mu.Unlock()
	if closed {
		return 0, &net.OpError{Op: "write", Net: "udp", Err: net.ErrClosed}
	}
	n := p.host.net
	wait := n.transit()
	n.mu.Lock()
	peer := n.at(addr.Addr())
	lost := peer == nil || n.cut[direction{p.host.name, peer.name}] || n.loss > 0 && n.rng.Float64() < n.loss
	var there *packetConn
	if !lost {
		there = peer.packets[addr.Port()]
	}
	n.mu.Unlock()
	if there == nil {
		return len(b), nil
	}
	g := packet{data: append([]byte(nil), b...), from: p.addr}
	if wait > 0 {
		time.AfterFunc(wait, func() { there.push(g) })
	} else {
		there.push(g)
	}
	return len(b), nil
}

func (p *packetConn) push(g packet) {
	p.inbox.mu.Lock()
	defer p.inbox.mu.Unlock()
	if p.inbox.closed || len(p.inbox.queue) >= inboxSize {
		return
	}
	p.inbox.queue = append(p.inbox.queue, g)
	p.inbox.cond.Broadcast()
}

func (p *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(p.addr) }

func (p *packetConn) Close() error {
	p.host.net.mu.Lock()
	if p.host.packets[p.addr.Port()] == p {
		delete(p.host.packets, p.addr.Port())
	}
	p.host.net.mu.Unlock()
	return p.shut()
}

func (p *packetConn) shut() error {
	p.inbox.mu.Lock()
	defer p.inbox.mu.Unlock()
	if p.inbox.closed {
		return net.ErrClosed
	}
	p.inbox.closed = true
	p.inbox.readBy.stop()
	p.inbox.cond.Broadcast()
	return nil
}

func (p *packetConn) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

func (p *packetConn) SetReadDeadline(t time.Time) error {
	p.inbox.mu.Lock()
	defer p.inbox.mu.Unlock()
	p.inbox.readBy.set(t, &p.inbox.cond)
	return nil
}

func (p *packetConn) SetWriteDeadline(time.Time) error { return nil } // writing never waits
