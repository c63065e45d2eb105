package config

import (
	"fmt"
	"strings"
)

// Summary tells in a few lines what the node would do. Nothing in it is secret.
func (c *Config) Summary() []string {
	lines := []string{fmt.Sprintf("node %s, data in %s", c.Node, c.Data), c.clusterSummary()}
	for _, k := range c.Caches {
		scope := "replicated"
		if k.Node {
			scope = "of this node alone"
		}
		lines = append(lines, fmt.Sprintf("cache %s: %d items of %d bytes, %s", k.Name, k.Items, k.BlockSize, scope))
	}
	for _, l := range c.Legions {
		role := fmt.Sprintf("valor %d", l.Valor)
		if l.Valor == 0 {
			role = "valor 0: votes and never rules"
		}
		lines = append(lines, fmt.Sprintf("legion %s: %s, quorum %d", l.Name, role, max(l.Quorum, 1)))
	}
	for _, d := range c.Daemons {
		where := "on every node"
		if d.Legion != "" {
			where = "where the lord of " + d.Legion + " is"
		}
		lines = append(lines, fmt.Sprintf("daemon %s %s: %s", d.Name, where, d.Command))
	}
	for _, l := range c.Gateway.Listen {
		lines = append(lines, "http on "+l.Addr)
	}
	if len(c.Gateway.Listen) == 0 {
		lines = append(lines, "no http: http-socket = :8080 would open a port")
	}
	return append(lines, fmt.Sprintf("rules: %d", len(c.Rules)))
}

func (c *Config) clusterSummary() string {
	if c.Cluster.Bind == "" {
		return "a cluster of one: no cluster = IP:PORT"
	}
	s := "cluster " + c.Cluster.Name + " on " + c.Cluster.Bind
	if c.Cluster.Advertise != "" {
		s += ", advertised as " + c.Cluster.Advertise
	}
	if len(c.Cluster.Join) > 0 {
		s += ", joins " + strings.Join(c.Cluster.Join, ", ")
	}
	if c.Cluster.Expect > 0 {
		s += fmt.Sprintf(", cluster-expect %d", c.Cluster.Expect)
	}
	if c.Cluster.Client {
		s += ", as a client"
	}
	return s
}
