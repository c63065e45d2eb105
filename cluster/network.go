package cluster

import (
	"context"
	"net"
	"net/netip"
)

// Network is what the world gives: the machine's own network, or one in memory.
type Network interface {
	Listen(addr string) (net.Listener, error)                // TCP
	ListenPacket(addr string) (net.PacketConn, error)        // UDP
	Dial(ctx context.Context, addr string) (net.Conn, error) // TCP
}

// machine is the network this process is on.
type machine struct{}

func (machine) Listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }

func (machine) ListenPacket(addr string) (net.PacketConn, error) {
	return net.ListenPacket("udp", addr)
}

func (machine) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

// lookup is a resolver of host names.
type lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// resolve turns host:port into addresses. IP addresses are taken as they are, so that nothing is asked.
func (l lookup) resolve(ctx context.Context, hostPort string) ([]netip.AddrPort, error) {
	if a, err := netip.ParseAddrPort(hostPort); err == nil {
		return []netip.AddrPort{unmap(a)}, nil
	}
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	p, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return nil, err
	}
	ips, err := l(ctx, host)
	if err != nil {
		return nil, err
	}
	out := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		out = append(out, unmap(netip.AddrPortFrom(ip, uint16(p))))
	}
	return out, nil
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func systemLookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
