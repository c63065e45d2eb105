package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// advertise decides the one address that others reach this node at. bound is what the port was really
// bound to, own are this machine's addresses; ask resolves names.
func (c Config) advertise(ctx context.Context, bound netip.AddrPort, own []netip.Addr, ask lookup) (netip.AddrPort, error) {
	if c.Advertise != "" {
		addrs, err := ask.resolve(ctx, c.Advertise)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("cluster-advertise = %s: %w", c.Advertise, err)
		}
		return oneAddress("cluster-advertise = "+c.Advertise, addrs)
	}
	if !bound.Addr().IsUnspecified() {
		return bound, nil
	}
	ip, err := c.guess(own)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("cluster = %s: %w", c.Bind, err)
	}
	return netip.AddrPortFrom(ip, bound.Port()), nil
}

// oneAddress takes the only IPv4 address a name has, or the only IPv6 address if it has none: that is what
// names with both usually mean.
func oneAddress(what string, addrs []netip.AddrPort) (netip.AddrPort, error) {
	for _, want := range []func(netip.Addr) bool{netip.Addr.Is4, netip.Addr.Is6} {
		var found []netip.AddrPort
		for _, a := range addrs {
			if want(a.Addr()) && !a.Addr().IsUnspecified() {
				found = append(found, a)
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return netip.AddrPort{}, fmt.Errorf("%s: it means %s; say which of them others reach this node at", what, commas(found))
		}
	}
	return netip.AddrPort{}, fmt.Errorf("%s: it has no address", what)
}

// guess picks this machine's address when the port is open on all of them. With several candidates any
// choice would be wrong on some machine, so there it asks.
func (c Config) guess(own []netip.Addr) (netip.Addr, error) {
	var four, six []netip.Addr
	for _, ip := range own {
		switch ip = ip.Unmap(); {
		case ip.IsLoopback() || ip.IsUnspecified() || ip.IsMulticast() || ip.IsLinkLocalUnicast():
		case ip.Is4():
			four = append(four, ip)
		default:
			six = append(six, ip)
		}
	}
	if len(four) == 0 {
		four = six
	}
	switch len(four) {
	case 1:
		return four[0], nil
	case 0:
		return netip.Addr{}, errors.New("this machine has no address that others could reach; add cluster-advertise = IP:PORT")
	}
	return netip.Addr{}, fmt.Errorf("this machine has the addresses %s; add cluster-advertise = IP:PORT to say which of them the others reach", commas(four))
}

func commas[T fmt.Stringer](all []T) string {
	words := make([]string, len(all))
	for i, a := range all {
		words[i] = a.String()
	}
	return strings.Join(words, ", ")
}

// ownAddresses are the addresses of the interfaces that are up.
func ownAddresses() ([]netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // the interface went away meanwhile
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				out = append(out, p.Addr())
			}
		}
	}
	return out, nil
}
