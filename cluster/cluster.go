// Package cluster owns a node's one port: who is reachable, and where, and the ways to talk to them.
//
// UDP carries memberlist's packets. TCP is TLS 1.3 between nodes that both prove the cluster's secret, and
// inside it memberlist's streams, frames (many small requests over one connection), and streams for others
// such as raft, told apart by their first byte. Plain requests, for a guardian whose node is dead, are the
// one thing outside TLS. Nothing here asks the wall clock.
//
// Guaranteed: nobody without the secret is heard, and no number of strangers keeps members from talking.
// Every node has one Member entry, the latest living boot of it. A node of another cluster never becomes a
// member, and of two nodes with one identity the later is refused. After Run has returned no connection and
// no goroutine is left.
//
// Not guaranteed: that a member said to be alive is, or the reverse. Who must know takes a lease. And every
// holder of the secret can pretend to be any node.
//
// Goroutines: Run owns all of them. Callbacks (handlers, Gossip) run on goroutines of this package.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// How often each node asks one other whether it lives, and how long it waits before it asks in other ways.
const (
	probeInterval = 200 * time.Millisecond
	probeTimeout  = 100 * time.Millisecond
)

// Cluster is this node's part in the cluster.
type Cluster struct {
	cfg     Config
	id      *Identity
	log     *slog.Logger
	tcp     net.Listener
	udp     net.PacketConn
	bound   netip.AddrPort // what is listened on
	self    netip.AddrPort // what others are told
	ask     lookup
	seal    *packetSeal
	dialler dialler

	// life ends when everything has to stop, which is after the farewell: calls end before it through
	// contexts of their own.
	life context.Context
	end  context.CancelCauseFunc
	wg   sync.WaitGroup

	handlers [256]Handler // not changed after Run
	plain    func([]byte) []byte
	gossip   Gossip

	transport *transport
	list      *memberlist.Memberlist
	queue     memberlist.TransmitLimitedQueue
	view      *view
	joins     joins
	conns     connSet
	waiting   waitingRoom
	counters  counters

	strangers, foreigners complaint

	linksMu sync.RWMutex
	links   map[string]*link // by id

	mu        sync.Mutex
	stopped   bool
	meta      Meta
	metaMoved chan struct{} // one slot: others must be told
	streams   map[byte]*Streams
}

// Open takes the port and does not talk to anybody yet. A nil network is the machine's. Run must follow, or
// Close.
func Open(cfg Config, id *Identity, keys *Keys, meta Meta, network Network, log *slog.Logger) (*Cluster, error) {
	if network == nil {
		network = machine{}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if meta.ClusterID == "" {
		meta.ClusterID = id.ClusterID
	}
	if _, err := appendMeta(nil, cfg.Node, meta); err != nil {
		return nil, err
	}
	tls, err := keys.tlsConfig(id.ID)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		cfg: cfg, id: id, log: log, ask: systemLookup, seal: newPacketSeal(keys), meta: meta,
		metaMoved: make(chan struct{}, 1), links: map[string]*link{}, streams: map[byte]*Streams{},
		waiting: waitingRoom{room: mostPending},
	}
	c.life, c.end = context.WithCancelCause(context.Background())
	c.dialler = dialler{net: network, tls: tls, boot: id.Boot(), cluster: c.clusterID, conns: &c.conns}
	c.transport = newTransport(c)
	c.handlers[kindGossip], c.handlers[kindBoot] = c.gossipFrame, c.bootFrame
	c.queue.RetransmitMult, c.queue.NumNodes = 4, func() int { return len(c.Members()) }
	if err := c.listen(network); err != nil {
		return nil, fmt.Errorf("open the cluster's port: %w", err)
	}
	c.view = newView(c.Self)
	return c, nil
}

// listen opens TCP and UDP on the same port and finds out what address to tell others.
func (c *Cluster) listen(network Network) (err error) {
	for range 10 { // with port 0 the one that TCP gets may be taken for UDP
		if c.tcp, err = network.Listen(c.cfg.Bind); err != nil {
			return err
		}
		if c.udp, err = network.ListenPacket(c.tcp.Addr().String()); err == nil {
			break
		}
		c.tcp.Close()
		if _, port, _ := net.SplitHostPort(c.cfg.Bind); port != "0" {
			return err
		}
	}
	if err != nil {
		return err
	}
	c.bound, err = netip.ParseAddrPort(c.tcp.Addr().String())
	if err == nil {
		c.bound = unmap(c.bound)
		c.self, err = c.findAddress()
	}
	if err != nil {
		c.tcp.Close()
		c.udp.Close()
	}
	return err
}

func (c *Cluster) findAddress() (netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(c.life, 10*time.Second)
	defer cancel()
	var own []netip.Addr
	if c.cfg.Advertise == "" && c.bound.Addr().IsUnspecified() {
		var err error
		if own, err = ownAddresses(); err != nil {
			return netip.AddrPort{}, err
		}
	}
	return c.cfg.advertise(ctx, c.bound, own, c.ask)
}

// Run serves the port, joins the others and keeps joining them, until ctx ends; then it says farewell and
// returns when all is gone. ready is called after the first round of joins, or 3 seconds: whoever could be
// reached at once is a member by then, and a copied data directory has been refused. It returns a
// *CloneError or a *ForeignError when this node cannot be part of the cluster.
func (c *Cluster) Run(ctx context.Context, ready func()) error {
	defer c.stop()
	c.spawn(c.acceptAll)
	c.spawn(c.readPackets)
	var err error
	if c.list, err = memberlist.Create(c.memberlistConfig()); err != nil {
		return fmt.Errorf("start memberlist: %w", err)
	}
	defer c.farewell()
	c.spawn(c.follow)
	c.spawn(c.tellMeta)
	first := make(chan struct{})
	c.spawn(func() { c.joinRounds(first) })
	late := time.NewTimer(firstJoin)
	defer late.Stop()
	select {
	case <-first:
	case <-late.C:
	case <-ctx.Done():
		return nil
	}
	if err := c.findClone(ctx); err != nil {
		return err
	}
	c.spawn(c.watchClones)
	ready()
	select {
	case <-ctx.Done():
		return nil
	case <-c.life.Done():
		return context.Cause(c.life)
	}
}

// Close gives the port free when Run was not called. After Run it does nothing.
func (c *Cluster) Close() error {
	c.stop()
	return nil
}

func (c *Cluster) memberlistConfig() *memberlist.Config {
	m := memberlist.DefaultLANConfig()
	m.Name = bootName(c.id.ID, c.id.Boot())
	m.Transport = c.transport
	m.BindPort, m.AdvertisePort = int(c.self.Port()), int(c.self.Port())
	m.LogOutput = lineLog{c.log}
	m.Delegate, m.Events, m.Alive = delegate{c}, delegate{c}, delegate{c}
	// A dead node is known as such after 1 to 1.5 seconds. That only speeds up candidates; leases decide.
	m.ProbeInterval, m.ProbeTimeout, m.GossipInterval = probeInterval, probeTimeout, 50*time.Millisecond
	m.AwarenessMaxMultiplier = 4 // bounds how long a probe takes
	m.RetransmitMult = 8         // with the usual 4, one start of nine nodes in thirty waited for a state exchange
	m.PushPullInterval = 10 * time.Second
	m.TCPTimeout = handshakeTime
	m.EnableCompression = false
	m.UDPBufferSize = 1400 - packetOverhead
	m.DelegateProtocolVersion, m.DelegateProtocolMin, m.DelegateProtocolMax = 1, 1, 255
	return m
}

// farewell tells the others that this boot will not come back, so that nobody has to find out.
func (c *Cluster) farewell() {
	_ = c.list.Leave(time.Second) // at worst it is found out
	_ = c.list.Shutdown()         // never fails: transport.Shutdown does not
	// Nothing of memberlist can be waited for. A probe that is under way ends with its interval.
	time.Sleep(time.Duration(c.list.GetHealthScore()+1)*probeInterval + probeTimeout)
}

// follow keeps the links in line with the members and looks after them, and logs what is complained of.
func (c *Cluster) follow() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-c.view.moved:
			c.followMembers()
		case <-tick.C:
			c.eachLink((*link).tick)
			c.view.update()
			c.strangers.tell(c.log, "strangers at the port: another secret, or no node")
			c.foreigners.tell(c.log, "refused a node of another cluster")
		case <-c.life.Done():
			return
		}
	}
}

// tellMeta gossips this node's meta whenever it changed.
func (c *Cluster) tellMeta() {
	for {
		select {
		case <-c.metaMoved:
			_ = c.list.UpdateNode(500 * time.Millisecond) // late only means that it is still on its way
		case <-c.life.Done():
			return
		}
	}
}

// spawn starts a goroutine that stop waits for; false when it is too late for that.
func (c *Cluster) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return false
	}
	c.wg.Go(f)
	return true
}

// stop closes everything and waits for all goroutines.
func (c *Cluster) stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.end(ErrClosed)
	_ = errors.Join(c.tcp.Close(), c.udp.Close()) // they may be closed already
	c.eachLink((*link).close)
	c.conns.close()
	c.wg.Wait()
}

// SetMeta changes what this node says of itself; others know within about a second. What does not fit is
// logged and changes nothing.
func (c *Cluster) SetMeta(change func(*Meta)) {
	c.mu.Lock()
	m := c.meta
	change(&m)
	_, err := appendMeta(nil, c.cfg.Node, m)
	moved := err == nil && m != c.meta
	if moved {
		c.meta = m
	}
	c.mu.Unlock()
	if err != nil {
		c.log.Error("nothing changed in what this node tells others", "err", err)
	}
	if !moved {
		return
	}
	c.view.update()
	select {
	case c.metaMoved <- struct{}{}:
	default:
	}
}

func (c *Cluster) metaBytes() []byte {
	b, err := appendMeta(nil, c.cfg.Node, c.Self().Meta)
	if err != nil {
		panic("cluster: " + err.Error()) // Open and SetMeta let none pass
	}
	return b
}

func (c *Cluster) clusterID() string { return c.Self().Meta.ClusterID }

// Self is this node as others see it.
func (c *Cluster) Self() Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Member{ID: c.id.ID, Name: c.cfg.Node, Addr: c.self.String(), Boot: c.id.Boot(), Alive: true, Meta: c.meta}
}

// Members are all nodes known, this one included, one entry each, sorted by id. The dead stay in it for two
// days. The slice is never written to again: it must not be changed.
func (c *Cluster) Members() []Member { return c.view.snapshot() }

// Changed is closed when Members has changed since the call.
func (c *Cluster) Changed() <-chan struct{} { return c.view.next() }

// Address is where a node is, or was last.
func (c *Cluster) Address(id string) (string, bool) {
	for _, m := range c.Members() {
		if m.ID == id {
			return m.Addr, true
		}
	}
	return "", false
}
