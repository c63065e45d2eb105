package memnet

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// window is how many bytes a connection takes that nobody has read yet.
const window = 256 << 10

// conn is one end of a connection. It reads from in and writes to out, which is the other end's in.
type conn struct {
	net           *Net
	host          *Host
	local, remote netip.AddrPort
	in, out       *stream
	once          sync.Once
}

// stream is one direction of a connection: what was sent and has not arrived, then what has arrived and
// was not read.
type stream struct {
	net      *Net
	from, to string

	mu      sync.Mutex
	cond    sync.Cond
	flight  []segment // in order of sending, each due no earlier than the one before
	ready   []byte
	end     error // the reader gets it after the last byte: io.EOF or a reset
	broken  error // the writer gets it
	gone    error // the reader's own end was closed
	unread  int   // bytes in flight and ready
	readBy  deadline
	writeBy deadline
}

type segment struct {
	due  time.Time
	data []byte
	end  error
}

func newPair(n *Net, a, b *Host, from, to netip.AddrPort) (near, far *conn) {
	there, back := newStream(n, a.name, b.name), newStream(n, b.name, a.name)
	near = &conn{net: n, host: a, local: from, remote: to, in: back, out: there}
	far = &conn{net: n, host: b, local: to, remote: from, in: there, out: back}
	return near, far
}

func newStream(n *Net, from, to string) *stream {
	s := &stream{net: n, from: from, to: to}
	s.cond.L = &s.mu
	return s
}

func (c *conn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }
func (c *conn) LocalAddr() net.Addr         { return net.TCPAddrFromAddrPort(c.local) }
func (c *conn) RemoteAddr() net.Addr        { return net.TCPAddrFromAddrPort(c.remote) }

// Close sends what was written, then the end. The other end reads both, when the cable lets them pass.
func (c *conn) Close() error {
	return c.shut(io.EOF, net.ErrClosed)
}

// reset is what the kernel does with the connections of a killed process.
func (c *conn) reset() {
	_ = c.shut(errReset, errDown)
}

func (c *conn) shut(there, here error) error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = nil
		c.out.send(segment{end: there}, here)
		c.in.abandon(here)
		c.net.mu.Lock()
		delete(c.net.conns, c)
		c.net.mu.Unlock()
	})
	return err
}

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.readBy.set(t, &c.in.cond)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.writeBy.set(t, &c.out.cond)
	return nil
}

func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.gone != nil:
			return 0, opError("read", s.gone)
		case s.readBy.passed():
			return 0, opError("read", os.ErrDeadlineExceeded)
		case len(b) == 0:
			return 0, nil
		case len(s.ready) > 0:
			n := copy(b, s.ready)
			s.ready = s.ready[n:]
			s.unread -= n
			s.cond.Broadcast()
			return n, nil
		case s.end == io.EOF:
			return 0, io.EOF
		case s.end != nil:
			return 0, opError("read", s.end)
		}
		s.cond.Wait()
	}
}

func (s *stream) write(b []byte) (int, error) {
	sent := 0
	for {
		n, err := s.writeSome(b[sent:])
		sent += n
		if err != nil || sent == len(b) {
			return sent, err
		}
	}
}

// writeSome sends as much as the window takes, once it takes anything.
func (s *stream) writeSome(b []byte) (int, error) {
	s.mu.Lock()
	for {
		var err error
		switch {
		case s.broken != nil:
			err = s.broken
		case s.writeBy.passed():
			err = os.ErrDeadlineExceeded
		}
		if err != nil {
			s.mu.Unlock()
			return 0, opError("write", err)
		}
		if s.unread < window {
			break
		}
		s.cond.Wait()
	}
	n := min(len(b), window-s.unread)
	s.mu.Unlock()
	s.send(segment{data: append([]byte(nil), b[:n]...)}, nil)
	return n, nil
}

// send puts a segment under way. broken is what further writes get.
func (s *stream) send(g segment, broken error) {
	wait := s.net.transit()
	s.mu.Lock()
	if s.broken != nil {
		s.mu.Unlock()
		return
	}
	g.due = time.Now().Add(wait)
	if k := len(s.flight); k > 0 && s.flight[k-1].due.After(g.due) {
		g.due = s.flight[k-1].due
	}
	s.flight = append(s.flight, g)
	s.unread += len(g.data)
	s.broken = broken
	s.cond.Broadcast()
	wait = time.Until(g.due)
	s.mu.Unlock()
	if wait > 0 {
		time.AfterFunc(wait, s.deliver)
		return
	}
	s.deliver()
}

// deliver moves what is due to the reader, if the cable lets it pass.
func (s *stream) deliver() {
	if !s.net.open(s.from, s.to) {
		return // Heal comes back here
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.flight) > 0 && !s.flight[0].due.After(now) {
		g := s.flight[0]
		s.flight = s.flight[1:]
		if s.gone != nil { // data for a closed end is answered with a reset
			if s.broken == nil && s.net.open(s.to, s.from) {
				s.broken = errReset
			}
			continue
		}
		s.ready = append(s.ready, g.data...)
		if g.end != nil {
			s.end = g.end
			if g.end != io.EOF { // a reset overtakes nothing here, but takes the unread bytes with it
				s.ready = nil
			}
		}
	}
	s.cond.Broadcast()
}

// abandon tells both users of the stream that its reading end is closed.
func (s *stream) abandon(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone, s.ready = err, nil
	s.unread = 0
	if s.broken == nil && s.net.open(s.to, s.from) { // else the writer does not hear of it
		s.broken = errReset
	}
	s.readBy.stop()
	s.cond.Broadcast()
}

func opError(op string, err error) error { return &net.OpError{Op: op, Net: "tcp", Err: err} }

// deadline wakes those who wait on a condition when its time comes. Its owner's mutex guards it.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(t time.Time, cond *sync.Cond) {
	d.stop()
	d.at = t
	if !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), func() {
			cond.L.Lock()
			defer cond.L.Unlock()
			cond.Broadcast()
		})
	}
	cond.Broadcast()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// listener is an open TCP port.
type listener struct {
	host   *Host
	addr   netip.AddrPort
	mu     sync.Mutex
	cond   sync.Cond
	queue  []*conn
	closed bool
}

// backlog is how many connections wait to be accepted before further ones are refused.
const backlog = 1024

func (l *listener) push(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.queue) >= backlog {
		return false
	}
	l.queue = append(l.queue, c)
	l.cond.Broadcast()
	return true
}

func (l *listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		l.cond.Wait()
	}
	if l.closed {
		return nil, opError("accept", net.ErrClosed)
	}
	c := l.queue[0]
	l.queue = l.queue[1:]
	return c, nil
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

func (l *listener) Close() error {
	l.host.net.mu.Lock()
	if l.host.tcp[l.addr.Port()] == l {
		delete(l.host.tcp, l.addr.Port())
	}
	l.host.net.mu.Unlock()
	return l.shut()
}

func (l *listener) shut() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return net.ErrClosed
	}
	l.closed = true
	queue := l.queue
	l.queue = nil
	l.cond.Broadcast()
	l.mu.Unlock()
	for _, c := range queue {
		c.reset()
	}
	return nil
}
