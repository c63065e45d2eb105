package cluster

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// mostPending is how many connections may be in their handshake at once.
const mostPending = 256

// First bytes of a connection.
const (
	firstTLS   = 0x16 // a TLS handshake record, RFC 8446, 5.1
	firstPlain = 'T'
)

// acceptAll takes connections until the listener is closed. Nothing a connection does keeps it from the
// next: each is greeted in a goroutine of its own.
func (c *Cluster) acceptAll() {
	for {
		raw, err := c.tcp.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || c.life.Err() != nil {
				return
			}
			c.log.Warn("connection not accepted", "err", err)
			if !c.pause(100 * time.Millisecond) { // out of files: others may close some
				return
			}
			continue
		}
		held := c.conns.add(raw, nil)
		if held == nil {
			return
		}
		if !c.spawn(func() { c.welcome(held.(*heldConn)) }) {
			held.Close()
		}
	}
}

// welcome finds out what a new connection is and hands it to whoever takes its kind.
func (c *Cluster) welcome(raw *heldConn) {
	place, evicted := c.waiting.enter(raw)
	if evicted {
		c.counters.evicted.Add(1)
	}
	_ = raw.SetDeadline(time.Now().Add(handshakeTime))
	p, take := c.greetBack(raw)
	c.waiting.leave(place)
	if take == nil {
		raw.Close()
		return
	}
	_ = raw.SetDeadline(time.Time{})
	take(p)
}

func (c *Cluster) greetBack(raw *heldConn) (*peerConn, func(*peerConn)) {
	first := make([]byte, 1)
	if _, err := io.ReadFull(raw, first); err != nil {
		c.counters.silent.Add(1)
		return nil, nil
	}
	switch first[0] {
	case firstPlain:
		c.servePlain(raw)
		return nil, nil
	case firstTLS:
		raw.first = first
	default:
		c.counters.unknownBytes.Add(1)
		return nil, nil
	}
	conn := tls.Server(raw, c.dialler.tls)
	if err := conn.Handshake(); err != nil {
		c.counters.handshakes.Add(1)
		c.strangers.note(raw.RemoteAddr(), err)
		return nil, nil
	}
	h, err := readHello(conn)
	if err != nil {
		c.counters.handshakes.Add(1)
		return nil, nil
	}
	p := &peerConn{Conn: conn, id: nodeOf(conn.ConnectionState().PeerCertificates[0]), boot: h.boot}
	return p, c.answerHello(p, h)
}

// answerHello says who takes the connection, and tells the other end; nil if nobody does.
func (c *Cluster) answerHello(p *peerConn, h hello) func(*peerConn) {
	take := c.taker(h.kind)
	answer := []byte{helloWelcome}
	switch ours := c.clusterID(); {
	case areForeign(ours, h.cluster):
		c.counters.foreign.Add(1)
		c.foreigners.note(p.RemoteAddr(), &ForeignError{Addr: p.RemoteAddr().String(), Ours: ours, Theirs: h.cluster})
		answer = append([]byte{helloForeign, byte(len(ours))}, ours...)
		take = nil
	case take == nil:
		answer[0] = helloNobody
	}
	if _, err := p.Write(answer); err != nil {
		return nil
	}
	return take
}

// taker is who takes connections of a kind.
func (c *Cluster) taker(kind byte) func(*peerConn) {
	switch kind {
	case kindMemberlist:
		return c.transport.take
	case kindFrames:
		return c.serveFrames
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[kind]; s != nil {
		return s.take
	}
	return nil
}

// readPackets opens what arrives over UDP and gives it to memberlist, until the socket is closed. What does
// not open is dropped and counted here: memberlist would write a line for each.
func (c *Cluster) readPackets() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := c.udp.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || c.life.Err() != nil {
				return
			}
			if !c.pause(10 * time.Millisecond) { // an ICMP answer to something sent, for one
				return
			}
			continue
		}
		content, err := c.seal.open(buf[:n])
		if err != nil {
			c.counters.packetsRefused.Add(1)
			c.strangers.note(from, ErrSecret)
			continue
		}
		if !c.transport.deliver(content, from) {
			c.counters.packetsDropped.Add(1)
		}
	}
}

// pause waits; false when the node goes down meanwhile.
func (c *Cluster) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.life.Done():
		return false
	}
}
