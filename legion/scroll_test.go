package legion

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestLongScrollsAreFetched(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		long := strings.Repeat("scroll ", 1000)
		a := w.add(nodeA, 10)
		b := w.add(nodeB, 20, func(c *Config) { c.Scroll = "short" })
		c := w.add(nodeC, 30, func(c *Config) { c.Scroll = long })
		w.wantLord(c, 3*time.Second)
		time.Sleep(2 * time.Second)
		v := a.legion.View()
		if m, _ := v.Member(b.id); m.Scroll != "short" {
			t.Errorf("scroll of b is %q", m.Scroll)
		}
		if v.Scroll != long {
			t.Errorf("the lord's scroll has %d bytes, want %d", len(v.Scroll), len(long))
		}
		if _, ok := c.legion.HandleScroll(make([]byte, scrollRequest)); ok {
			t.Error("a scroll without its digest was given away")
		}
	})
}

// fetch asks the node for its scroll, as the frames between nodes do.
func (n *node) fetch(_ context.Context, id string, request []byte) ([]byte, error) {
	n.w.mu.Lock()
	o := n.w.nodes[id]
	n.w.mu.Unlock()
	if b, ok := o.legion.HandleScroll(request); ok {
		return b, nil
	}
	return nil, errors.New("no such scroll")
}
