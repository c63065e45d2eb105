package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

// CloneError says that another living node has this node's identity: the data directory was copied.
type CloneError struct {
	ID   string
	Addr string // of the other
	Boot uint64 // of the other
}

func (e *CloneError) Error() string {
	return fmt.Sprintf("cluster: the node at %s runs with this node's identity %s: one data directory is a copy of the other. Stop this node and start it with an empty data directory", e.Addr, e.ID)
}

// findClone looks for another living node with this node's identity. What membership says may be this
// node's own earlier boot that nobody has missed yet, so it asks there. Of the two the one with the later
// boot has to go, which both see alike.
func (c *Cluster) findClone(ctx context.Context) error {
	for _, m := range c.view.clones() {
		boot, err := c.askBoot(ctx, m.Addr)
		if err != nil || boot == c.id.Boot() {
			continue
		}
		found := &CloneError{ID: c.id.ID, Addr: m.Addr, Boot: boot}
		if c.id.Boot() > boot {
			return found
		}
		c.log.Error("another node has this node's identity and will be refused", "addr", m.Addr)
	}
	return nil
}

// askBoot asks which boot answers at an address under this node's own id.
func (c *Cluster) askBoot(ctx context.Context, addr string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	conn, err := c.dialler.dial(ctx, addr, kindFrames, c.id.ID)
	if err != nil {
		return 0, err
	}
	p := newPeer(conn)
	defer p.Close()
	b, err := p.Call(ctx, kindBoot, nil)
	if err != nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, errHello
	}
	return binary.BigEndian.Uint64(b), nil
}

func (c *Cluster) bootFrame(context.Context, string, []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint64(nil, c.id.Boot()), nil
}

// watchClones looks again whenever the members change, and every few seconds while there is a suspect.
func (c *Cluster) watchClones() {
	for {
		changed := c.view.next()
		if err := c.findClone(c.life); err != nil {
			c.end(err)
			return
		}
		var again <-chan time.Time
		if len(c.view.clones()) > 0 {
			again = time.After(2 * time.Second)
		}
		select {
		case <-changed:
		case <-again:
		case <-c.life.Done():
			return
		}
	}
}
