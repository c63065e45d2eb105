package cluster

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// packetQueue is how many packets wait for memberlist.
const packetQueue = 512

// transport is the one port as memberlist sees it. It seals and opens packets itself, so memberlist has no
// keys and never sees a stranger's bytes, and it does not own the port: Shutdown leaves that open.
type transport struct {
	c       *Cluster
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	once    sync.Once
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

func newTransport(c *Cluster) *transport {
	return &transport{c: c, packets: make(chan *memberlist.Packet, packetQueue), streams: make(chan net.Conn), done: make(chan struct{})}
}

func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.c.self.Addr().AsSlice(), int(t.c.self.Port()), nil
}

func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	packet := t.c.seal.seal(make([]byte, 0, len(b)+packetOverhead), b)
	_, err = t.c.udp.WriteTo(packet, net.UDPAddrFromAddrPort(to))
	return time.Now(), err
}

func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }
func (t *transport) StreamCh() <-chan net.Conn           { return t.streams }

// deliver gives memberlist a packet; false when it does not keep up. Packets repeat, so dropping is better
// than an old one later.
func (t *transport) deliver(content []byte, from net.Addr) bool {
	select {
	case t.packets <- &memberlist.Packet{Buf: content, From: from, Timestamp: time.Now()}:
		return true
	default:
		return false
	}
}

// take gives memberlist a connection. After Shutdown nobody would ever receive it.
func (t *transport) take(p *peerConn) {
	select {
	case t.streams <- p:
	case <-t.done:
		p.NetConn().Close()
	}
}

func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.c.life, timeout)
	defer cancel()
	want, _, _ := parseBootName(a.Name)
	conn, err := t.c.dialler.dial(ctx, a.Addr, kindMemberlist, want)
	t.c.joins.note(a.Addr, err)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

func (t *transport) Shutdown() error {
	t.once.Do(func() { close(t.done) })
	return nil
}
