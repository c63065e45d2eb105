package lord

import (
	"fmt"
	"io"
	"maps"

	"github.com/cohortd/cohort/cachefsm/op"
)

// maxSnapshot bounds what Restore reads: far more than maxLegions with all their marks.
const maxSnapshot = 512 << 20

// Snapshot returns a function that writes the table as it is now. The same state gives the same bytes on every node.
func (t *Table) Snapshot() func(io.Writer) error {
	t.mu.RLock()
	frozen := &Table{legions: maps.Clone(t.legions), floor: t.floor, era: t.era, eraIndex: t.eraIndex}
	t.mu.RUnlock()
	return func(w io.Writer) error {
		b := []byte{version}
		for _, v := range []uint64{frozen.floor, frozen.era, frozen.eraIndex, uint64(len(frozen.legions))} {
			b = op.Uvarint(b, v)
		}
		for _, name := range frozen.names() {
			b = putState(b, frozen.get(name))
		}
		_, err := w.Write(b)
		return err
	}
}

// Restore replaces the table by a snapshot. On an error nothing changes.
func (t *Table) Restore(from io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(from, maxSnapshot))
	if err != nil {
		return fmt.Errorf("lord: read snapshot: %w", err)
	}
	r := read(b)
	if r.Byte() != version {
		return errFormat
	}
	floor, era, eraIndex := r.Uvarint(), r.Uvarint(), r.Uvarint()
	n := r.count(maxLegions)
	legions := make(map[string]State, n)
	for range n {
		s := r.state()
		legions[s.Legion] = s
		floor = max(floor, s.Epoch)
	}
	if !r.done() || len(legions) != n || era >= maxEra {
		return errFormat
	}
	t.mu.Lock()
	t.legions, t.floor, t.era, t.eraIndex = legions, floor, era, eraIndex
	t.mu.Unlock()
	return nil
}
