// Package memnet is a network in memory for clusters inside a testing/synctest bubble: hosts with TCP and
// UDP, cables that can be cut in one or both directions, delay, loss, and hosts that die.
//
// It behaves like a network seen from a program, not like a pipe: a connection over a cut cable is not
// closed, its bytes are held back until the cable heals; a reader that does not read makes the writer wait
// once a window is full; a dial into a cut waits until its context ends; a dial to a port where nobody
// listens is refused. Datagrams are lost where a segment would be held back.
//
// Nothing runs on its own: delivery happens in the writer's call, or in a timer of package time when there
// is a delay, so a bubble's clock moves as soon as everybody waits. All waiting is on condition variables
// and channels made inside the bubble, which synctest counts as durably blocked.
package memnet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Net is one network. Its methods may be called at any time, from any goroutine of the bubble.
type Net struct {
	mu      sync.Mutex
	hosts   map[string]*Host   // by name; a host that was killed stays until its name is taken again
	cut     map[direction]bool // by names
	conns   map[*conn]struct{} // every end that is open
	rng     *rand.Rand         // for loss and jitter, same in every run
	loss    float64            // of datagrams
	delay   time.Duration      // of everything
	jitter  time.Duration      // on top, at most
	changed chan struct{}      // closed when a cable heals
	port    uint16             // last port given to a dialler or to ":0"
}

type direction struct{ from, to string }

// Host is one machine on the network, with one address. It has the methods of cluster.Network.
type Host struct {
	net  *Net
	name string
	ip   netip.Addr

	// Guarded by net.mu.
	down    bool
	tcp     map[uint16]*listener
	packets map[uint16]*packetConn
}

var (
	errRefused = syscall.ECONNREFUSED
	errReset   = syscall.ECONNRESET
	errDown    = errors.New("memnet: this host is down")
)

// New makes an empty network without delay or loss. When the test ends every host on it is killed, so
// that no goroutine stays behind in a read.
func New(t testing.TB) *Net {
	n := &Net{
		hosts:   map[string]*Host{},
		cut:     map[direction]bool{},
		conns:   map[*conn]struct{}{},
		rng:     rand.New(rand.NewPCG(1, 2)),
		changed: make(chan struct{}),
		port:    40000,
	}
	t.Cleanup(n.close)
	return n
}

// Host plugs in a machine with the given IP address. A name that was used before belongs to the new
// machine from now on, with the cuts that are in force; the old one must have been killed.
func (n *Net) Host(name, ip string) *Host {
	h := &Host{net: n, name: name, ip: netip.MustParseAddr(ip), tcp: map[uint16]*listener{}, packets: map[uint16]*packetConn{}}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, other := range n.hosts {
		if !other.down && (other.name == name || other.ip == h.ip) {
			panic(fmt.Sprintf("memnet: %s at %s is still up", other.name, other.ip))
		}
	}
	n.hosts[name] = h
	return h
}

// Seed makes loss and jitter take another course.
func (n *Net) Seed(seed uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rng = rand.New(rand.NewPCG(seed, 2))
}

// Loss makes a datagram get lost with this probability. Connections are not affected, as TCP repeats.
func (n *Net) Loss(probability float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = probability
}

// Delay makes everything sent from now on take this long, plus up to jitter. Datagrams may then overtake
// each other; the bytes of a connection never do.
func (n *Net) Delay(delay, jitter time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay, n.jitter = delay, jitter
}

// Cut cuts the cable between two hosts, both ways.
func (n *Net) Cut(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[direction{a, b}], n.cut[direction{b, a}] = true, true
}

// CutOneWay lets nothing pass from one host to the other; the way back stays open. No connection can be
// made in either direction meanwhile, since the answer to a dial is lost.
func (n *Net) CutOneWay(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[direction{from, to}] = true
}

// Isolate cuts a host from all others that are plugged in by now.
func (n *Net) Isolate(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other := range n.hosts {
		if other != name {
			n.cut[direction{name, other}], n.cut[direction{other, name}] = true, true
		}
	}
}

// Heal mends all cables. What connections held back arrives at once.
func (n *Net) Heal() {
	n.mu.Lock()
	clear(n.cut)
	close(n.changed)
	n.changed = make(chan struct{})
	conns := n.ends()
	n.mu.Unlock()
	for _, c := range conns {
		c.out.deliver()
		c.in.deliver() // the other end may be closed already
	}
}

// Kill is kill -9 of everything on a host: its sockets are gone, its own calls fail, and the other ends of
// its connections are reset, unless the cable is cut: then they hear nothing, as when a machine loses power
// (Isolate, then Kill). The name may be plugged in again.
func (n *Net) Kill(name string) {
	n.mu.Lock()
	h := n.hosts[name]
	if h == nil || h.down {
		n.mu.Unlock()
		return
	}
	h.down = true
	var mine []*conn
	for c := range n.conns {
		if c.host == h {
			mine = append(mine, c)
		}
	}
	listeners, packets := h.tcp, h.packets
	h.tcp, h.packets = map[uint16]*listener{}, map[uint16]*packetConn{}
	n.mu.Unlock()
	for _, l := range listeners {
		l.shut()
	}
	for _, p := range packets {
		p.shut()
	}
	for _, c := range mine {
		c.reset()
	}
}

func (n *Net) close() {
	n.mu.Lock()
	var names []string
	for name := range n.hosts {
		names = append(names, name)
	}
	n.mu.Unlock()
	for _, name := range names {
		n.Kill(name)
	}
	n.Heal() // the resets that were held back
}

// ends are all open ends of connections. n.mu is held.
func (n *Net) ends() []*conn {
	out := make([]*conn, 0, len(n.conns))
	for c := range n.conns {
		out = append(out, c)
	}
	return out
}

// open says whether anything gets through from one host to the other now.
func (n *Net) open(from, to string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.cut[direction{from, to}]
}

// transit is how long something sent now is under way.
func (n *Net) transit() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.delay
	if n.jitter > 0 {
		d += time.Duration(n.rng.Int64N(int64(n.jitter)))
	}
	return d
}

// at finds the machine with an address. n.mu is held.
func (n *Net) at(ip netip.Addr) *Host {
	for _, h := range n.hosts {
		if h.ip == ip && !h.down {
			return h
		}
	}
	return nil
}

// nextPort is a port nobody has been given before. n.mu is held.
func (n *Net) nextPort() uint16 {
	n.port++
	return n.port
}

// Name is what the host was plugged in as.
func (h *Host) Name() string { return h.name }

// Dial connects to a TCP port of another host, or of this one. Into a cut it waits until ctx ends.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := h.dial(ctx, addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	return c, nil
}

func (h *Host) dial(ctx context.Context, addr string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	if err := h.waitForWay(ctx, to.Addr()); err != nil {
		return nil, err
	}
	if d := h.net.transit(); d > 0 {
		t := time.NewTimer(2 * d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return h.connect(to)
}

// waitForWay returns when packets pass to and fro, or nothing ever will without an answer.
func (h *Host) waitForWay(ctx context.Context, ip netip.Addr) error {
	for {
		h.net.mu.Lock()
		peer, changed := h.net.at(ip), h.net.changed
		down := h.down
		name := h.net.nameOf(ip)
		way := !h.net.cut[direction{h.name, name}] && !h.net.cut[direction{name, h.name}]
		h.net.mu.Unlock()
		switch {
		case down:
			return errDown
		case ctx.Err() != nil:
			return ctx.Err()
		case way && (peer != nil || name != ""):
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// nameOf is the name of the machine that has, or had, an address; "" if none ever did. n.mu is held.
func (n *Net) nameOf(ip netip.Addr) string {
	if h := n.at(ip); h != nil {
		return h.name
	}
	for _, h := range n.hosts {
		if h.ip == ip {
			return h.name
		}
	}
	return ""
}

func (h *Host) connect(to netip.AddrPort) (net.Conn, error) {
	n := h.net
	n.mu.Lock()
	if h.down {
		n.mu.Unlock()
		return nil, errDown
	}
	peer := n.at(to.Addr())
	if peer == nil || peer.tcp[to.Port()] == nil {
		n.mu.Unlock()
		return nil, errRefused // a machine whose processes are dead still has a kernel
	}
	l := peer.tcp[to.Port()]
	near, far := newPair(n, h, peer, netip.AddrPortFrom(h.ip, n.nextPort()), to)
	n.conns[near], n.conns[far] = struct{}{}, struct{}{}
	n.mu.Unlock()
	if !l.push(far) {
		far.reset()
		near.reset()
		return nil, errRefused
	}
	return near, nil
}

// Listen opens a TCP port. The address is "IP:port", ":port" or with port 0 for any free one.
func (h *Host) Listen(addr string) (net.Listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	port, err := h.freePort(addr, func(p uint16) bool { return h.tcp[p] != nil })
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: err}
	}
	l := &listener{host: h, addr: netip.AddrPortFrom(h.ip, port)}
	l.cond.L = &l.mu
	h.tcp[port] = l
	return l, nil
}

// ListenPacket opens a UDP port; the address as for Listen.
func (h *Host) ListenPacket(addr string) (net.PacketConn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	port, err := h.freePort(addr, func(p uint16) bool { return h.packets[p] != nil })
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Err: err}
	}
	p := &packetConn{host: h, addr: netip.AddrPortFrom(h.ip, port)}
	p.inbox.cond.L = &p.inbox.mu
	h.packets[port] = p
	return p, nil
}

// freePort reads the port of an address of this host. h.net.mu is held.
func (h *Host) freePort(addr string, taken func(uint16) bool) (uint16, error) {
	if h.down {
		return 0, errDown
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, err
	}
	if host == "" {
		addr = h.ip.String() + addr
	}
	a, err := netip.ParseAddrPort(addr)
	switch {
	case err != nil:
		return 0, err
	case !a.Addr().IsUnspecified() && a.Addr() != h.ip:
		return 0, syscall.EADDRNOTAVAIL
	case a.Port() == 0:
		return h.net.nextPort(), nil
	case taken(a.Port()):
		return 0, syscall.EADDRINUSE
	}
	return a.Port(), nil
}
