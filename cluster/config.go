package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"unicode"
)

// Config is what the ini says of the one port and of who belongs together.
type Config struct {
	Name      string   // name of the cluster, part of every key; default "cohort"
	Node      string   // this node's name
	Bind      string   // ip:port of the one port; empty: a cluster of one
	Advertise string   // ip:port the others reach it at; empty: Bind's
	Join      []string // host:port of others, own address included is fine
	Expect    int      // bootstrap once this many are seen
	Secret    string   // at least 32 characters; empty only on loopback
	OldSecret string   // accepted beside Secret while a secret is changed: see DeriveKeys
	Client    bool     // cluster-role = client: never a voter
}

// shortestSecret is as short as a secret may be: whoever reaches the port can make it show a certificate,
// and guess the secret from that at home.
const shortestSecret = 32

// longestName bounds the names of clusters and nodes, which travel in every node's gossip.
const longestName = 64

// Check tells all that is wrong, each mistake with its mend.
func (c Config) Check() error {
	var errs []error
	if err := checkName(c.Node); err != nil {
		errs = append(errs, fmt.Errorf("node: %w", err))
	}
	if c.Name != "" {
		if err := checkName(c.Name); err != nil {
			errs = append(errs, fmt.Errorf("cluster-name: %w", err))
		}
	}
	if c.Expect < 0 {
		errs = append(errs, fmt.Errorf("cluster-expect = %d: give the number of nodes that start the cluster", c.Expect))
	}
	if c.Bind != "" {
		errs = append(errs, c.checkAddresses(), c.checkSecrets())
	}
	return errors.Join(errs...)
}

func (c Config) checkAddresses() error {
	var errs []error
	if err := checkHostPort(c.Bind, true); err != nil {
		errs = append(errs, fmt.Errorf("cluster = %s: %w", c.Bind, err))
	}
	if c.Advertise != "" {
		if err := checkHostPort(c.Advertise, false); err != nil {
			errs = append(errs, fmt.Errorf("cluster-advertise = %s: %w", c.Advertise, err))
		}
	}
	for _, addr := range c.Join {
		if err := checkHostPort(addr, false); err != nil {
			errs = append(errs, fmt.Errorf("cluster-join = %s: %w", addr, err))
		}
	}
	return errors.Join(errs...)
}

func (c Config) checkSecrets() error {
	var errs []error
	switch {
	case c.Secret == "" && c.OldSecret != "":
		errs = append(errs, errors.New("an old cluster secret without a cluster-secret protects nothing: give both, or none"))
	case c.Secret == "" && !(c.isLoopback(c.Bind) && (c.Advertise == "" || c.isLoopback(c.Advertise))):
		errs = append(errs, errors.New("cluster-secret is missing: without one a node talks on loopback addresses only. Put the same one on every node; `cohort secret` makes one"))
	}
	for _, s := range []string{c.Secret, c.OldSecret} {
		if s != "" && len(s) < shortestSecret {
			errs = append(errs, fmt.Errorf("cluster-secret has %d characters and could be guessed: it needs at least %d; `cohort secret` makes one", len(s), shortestSecret))
		}
	}
	return errors.Join(errs...)
}

func (c Config) isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func checkName(name string) error {
	if name == "" || len(name) > longestName {
		return fmt.Errorf("a name of %d bytes: it needs 1 to %d", len(name), longestName)
	}
	for _, r := range name {
		if r == unicode.ReplacementChar || !unicode.IsGraphic(r) || unicode.IsSpace(r) || r == '/' {
			return fmt.Errorf("%q cannot be a name: blanks, slashes and control characters are not allowed", name)
		}
	}
	return nil
}

// checkHostPort asks for host:port. An open host means every address of this machine, port 0 any free one.
func checkHostPort(addr string, own bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return errors.New("it must be HOST:PORT")
	}
	if host == "" && !own {
		return errors.New("the host is missing")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 && !own {
		return fmt.Errorf("%q is not a port number", port)
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() && !own {
		return errors.New("others cannot reach this address")
	}
	return nil
}
