package cluster

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	good := Config{Name: "cohort", Node: "n1", Bind: "10.0.0.1:7400", Join: []string{"n2:7400", "[::1]:7400"}, Expect: 3, Secret: secret}
	for name, tt := range map[string]struct {
		change func(*Config)
		want   []string // parts of the error; none: it is fine
	}{
		"as it should be":               {func(*Config) {}, nil},
		"a cluster of one":              {func(c *Config) { *c = Config{Node: "n1"} }, nil},
		"no secret on loopback":         {func(c *Config) { c.Secret, c.Bind = "", "127.0.0.1:7400" }, nil},
		"no secret on ::1":              {func(c *Config) { c.Secret, c.Bind = "", "[::1]:7400" }, nil},
		"no secret on localhost":        {func(c *Config) { c.Secret, c.Bind = "", "localhost:7400" }, nil},
		"no secret on a network":        {func(c *Config) { c.Secret = "" }, []string{"cluster-secret is missing", "cohort secret"}},
		"no secret on all addresses":    {func(c *Config) { c.Secret, c.Bind = "", "0.0.0.0:7400" }, []string{"cluster-secret is missing"}},
		"no secret with an open host":   {func(c *Config) { c.Secret, c.Bind = "", ":7400" }, []string{"cluster-secret is missing"}},
		"loopback for others":           {func(c *Config) { c.Secret, c.Bind, c.Advertise = "", "127.0.0.1:1", "n1:1" }, []string{"cluster-secret is missing"}},
		"a secret of 31":                {func(c *Config) { c.Secret = secret[1:] }, []string{"31 characters", "at least 32"}},
		"an old secret that is short":   {func(c *Config) { c.OldSecret = "abc" }, []string{"3 characters"}},
		"an old secret alone":           {func(c *Config) { c.Secret, c.OldSecret, c.Bind = "", secret, "127.0.0.1:1" }, []string{"without a cluster-secret"}},
		"no port":                       {func(c *Config) { c.Bind = "10.0.0.1" }, []string{"cluster = 10.0.0.1", "HOST:PORT"}},
		"a port that is none":           {func(c *Config) { c.Bind = "10.0.0.1:http" }, []string{"not a port number"}},
		"advertising all addresses":     {func(c *Config) { c.Advertise = "0.0.0.0:7400" }, []string{"cluster-advertise", "cannot reach"}},
		"joining without a port":        {func(c *Config) { c.Join = []string{"n2"} }, []string{"cluster-join = n2"}},
		"joining nobody":                {func(c *Config) { c.Join = []string{":7400"} }, []string{"host is missing"}},
		"a node without a name":         {func(c *Config) { c.Node = "" }, []string{"node:"}},
		"a name with a blank":           {func(c *Config) { c.Node = "n 1" }, []string{"cannot be a name"}},
		"a name that is too long":       {func(c *Config) { c.Name = strings.Repeat("x", 65) }, []string{"cluster-name", "65 bytes"}},
		"a negative number":             {func(c *Config) { c.Expect = -1 }, []string{"cluster-expect = -1"}},
		"several mistakes are all told": {func(c *Config) { c.Node, c.Secret = "", "" }, []string{"node:", "cluster-secret"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			tt.change(&c)
			err := c.Check()
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("Check = %v, want %q", err, tt.want)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("Check = %v, want %q in it", err, part)
				}
			}
		})
	}
}

func TestAdvertise(t *testing.T) {
	one := []string{"127.0.0.1", "::1", "fe80::1", "10.0.0.7"}
	names := lookup(func(_ context.Context, host string) ([]netip.Addr, error) {
		switch host {
		case "one":
			return addrs("10.0.0.9"), nil
		case "both":
			return addrs("2001:db8::1", "10.0.0.9"), nil
		case "two":
			return addrs("10.0.0.8", "10.0.0.9"), nil
		}
		return nil, errors.New("no such host")
	})
	for name, tt := range map[string]struct {
		bound, advertise string
		own              []string
		want             string // "": an error
		tells            string
	}{
		"what it is bound to":           {bound: "10.0.0.5:7400", own: one, want: "10.0.0.5:7400"},
		"loopback":                      {bound: "127.0.0.1:7400", own: one, want: "127.0.0.1:7400"},
		"the only address":              {bound: "0.0.0.0:7400", own: one, want: "10.0.0.7:7400"},
		"the only IPv4 of both":         {bound: "[::]:7400", own: append(one, "2001:db8::1"), want: "10.0.0.7:7400"},
		"the only IPv6":                 {bound: "[::]:7400", own: []string{"::1", "2001:db8::1"}, want: "[2001:db8::1]:7400"},
		"several: ask":                  {bound: "0.0.0.0:7400", own: append(one, "172.17.0.1"), tells: "10.0.0.7, 172.17.0.1; add cluster-advertise"},
		"none: ask":                     {bound: "0.0.0.0:7400", own: []string{"127.0.0.1"}, tells: "add cluster-advertise"},
		"as told, with several":         {bound: "0.0.0.0:7400", advertise: "10.1.1.1:7500", own: append(one, "172.17.0.1"), want: "10.1.1.1:7500"},
		"a name":                        {bound: "0.0.0.0:7400", advertise: "one:7400", want: "10.0.0.9:7400"},
		"a name with IPv4 and IPv6":     {bound: "0.0.0.0:7400", advertise: "both:7400", want: "10.0.0.9:7400"},
		"a name with several addresses": {bound: "0.0.0.0:7400", advertise: "two:7400", tells: "10.0.0.8:7400, 10.0.0.9:7400; say which"},
		"a name nobody knows":           {bound: "0.0.0.0:7400", advertise: "none:7400", tells: "no such host"},
		"IPv4 written as IPv6":          {bound: "0.0.0.0:7400", advertise: "[::ffff:10.0.0.9]:7400", want: "10.0.0.9:7400"},
	} {
		t.Run(name, func(t *testing.T) {
			c := Config{Bind: tt.bound, Advertise: tt.advertise}
			got, err := c.advertise(t.Context(), netip.MustParseAddrPort(tt.bound), addrs(tt.own...), names)
			if tt.want != "" && (err != nil || got.String() != tt.want) {
				t.Errorf("advertise = %s, %v; want %s", got, err, tt.want)
			}
			if tt.want == "" && (err == nil || !strings.Contains(err.Error(), tt.tells)) {
				t.Errorf("advertise = %s, %v; want an error with %q", got, err, tt.tells)
			}
		})
	}
}

func addrs(all ...string) (out []netip.Addr) {
	for _, a := range all {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestOwnAddresses(t *testing.T) {
	own, err := ownAddresses()
	if err != nil || len(own) == 0 {
		t.Errorf("ownAddresses = %v, %v; want loopback at least", own, err)
	}
}
