package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Meta is what a node says of itself to all others, within about a second of every change.
type Meta struct {
	Client    bool   // never a voter
	Draining  bool   // wants to hand over what it has
	Fresh     bool   // has no state of the cluster yet
	Protocol  uint8  // what it speaks
	Expect    int    // how many nodes it wants to see before a cluster begins
	ClusterID string // the cluster it belongs to; "": none yet
	Sees      string // a digest of the nodes it sees, while no cluster exists
	HTTP      string // where its gateway listens, for people
}

// Bounds of what fits into memberlist's 512 bytes beside the rest.
const (
	longestClusterID = 64
	longestHTTP      = 192
	longestSees      = 64
	longestMeta      = 512
	mostExpected     = 1 << 20
)

// metaVersion is the layout: version, flags, protocol, expect, name, cluster id, http, sees. A later version may
// append fields, which this one skips: nodes of neighbouring versions read each other.
const metaVersion = 1

const (
	metaClient = 1 << iota
	metaDraining
	metaFresh
)

// appendMeta encodes what is gossiped: the meta, and the node's name.
func appendMeta(dst []byte, name string, m Meta) ([]byte, error) {
	if len(name) > longestName || len(m.ClusterID) > longestClusterID || len(m.HTTP) > longestHTTP || len(m.Sees) > longestSees || m.Expect < 0 || m.Expect > mostExpected {
		return nil, fmt.Errorf("what this node says of itself is too long: name %d bytes, cluster id %d, http %d, sees %d", len(name), len(m.ClusterID), len(m.HTTP), len(m.Sees))
	}
	var flags byte
	for bit, set := range map[byte]bool{metaClient: m.Client, metaDraining: m.Draining, metaFresh: m.Fresh} {
		if set {
			flags |= bit
		}
	}
	dst = append(dst, metaVersion, flags, m.Protocol)
	dst = binary.AppendUvarint(dst, uint64(m.Expect))
	for _, s := range []string{name, m.ClusterID, m.HTTP, m.Sees} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	return dst, nil
}

var errMeta = errors.New("what a node says of itself cannot be read")

// parseMeta decodes appendMeta.
func parseMeta(b []byte) (name string, m Meta, err error) {
	if len(b) < 4 || len(b) > longestMeta || b[0] < metaVersion {
		return "", Meta{}, errMeta
	}
	flags := b[1]
	m = Meta{Client: flags&metaClient != 0, Draining: flags&metaDraining != 0, Fresh: flags&metaFresh != 0, Protocol: b[2]}
	b = b[3:]
	expect, k := binary.Uvarint(b)
	if k <= 0 || expect > mostExpected {
		return "", Meta{}, errMeta
	}
	m.Expect, b = int(expect), b[k:]
	for _, f := range []struct {
		to      *string
		longest int
	}{{&name, longestName}, {&m.ClusterID, longestClusterID}, {&m.HTTP, longestHTTP}, {&m.Sees, longestSees}} {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > uint64(f.longest) || n > uint64(len(b)-k) {
			return "", Meta{}, errMeta
		}
		*f.to, b = string(b[k:k+int(n)]), b[k+int(n):]
	}
	return name, m, nil
}

// bootName is what memberlist knows a node by. It holds the boot, so that a node that was restarted is a
// new member to it: no argument about addresses with the one that died.
func bootName(id string, boot uint64) string {
	return fmt.Sprintf("%s/%d-%08x", id, boot>>32, uint32(boot))
}

// parseBootName reads bootName's result.
func parseBootName(s string) (id string, boot uint64, ok bool) {
	if len(s) < 38 || len(s) > 64 || s[36] != '/' || !isUUID(s[:36]) {
		return "", 0, false
	}
	var counter, random uint32
	if n, err := fmt.Sscanf(s[37:], "%d-%08x", &counter, &random); n != 2 || err != nil {
		return "", 0, false
	}
	boot = uint64(counter)<<32 | uint64(random)
	return s[:36], boot, bootName(s[:36], boot) == s
}
