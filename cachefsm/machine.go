package cachefsm

import (
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/cohortd/cohort/cachefsm/op"
)

// Table is one kind of replicated state. Everything in it is a function of what was applied.
type Table interface {
	// Apply runs one op. at is the time of its entry, which never goes back.
	Apply(index uint64, at time.Duration, op []byte) op.Result
	// Advance is called for each entry before its ops: what expires by then is gone.
	Advance(at time.Duration)
	// Read runs an op that changes nothing. Reads run beside each other, never beside the others.
	Read(op []byte) op.Result
	// Timed says that something here waits for time to pass, so entries must come.
	Timed() bool
	// Snapshot takes the state quickly and returns what writes it, which runs beside everything else.
	Snapshot() func(io.Writer) error
	Restore(io.Reader) error
}

// machine is what raft drives: the table, and the sessions that make a retry harmless.
type machine struct {
	mu       sync.RWMutex
	table    Table
	sessions sessions
	at       time.Duration
	cluster  string // the cluster's id, once agreed

	timed atomic.Bool
	index atomic.Uint64

	noticeMu sync.Mutex
	notice   chan struct{} // closed after the next entry; nil if nobody asked
}

func newMachine(t Table) *machine {
	return &machine{table: t, sessions: sessions{all: map[string]*session{}}}
}

// outcome is what an entry came to: the results of all its chunks, one after the other.
type outcome struct {
	results []op.Result
	ends    []int // where each chunk's results end
}

func (o *outcome) chunk(i int) []op.Result {
	if i >= len(o.ends) {
		return nil
	}
	from := 0
	if i > 0 {
		from = o.ends[i-1]
	}
	return o.results[from:o.ends[i]]
}

// Apply is called by raft for each committed entry, in order.
func (m *machine) Apply(l *raft.Log) any {
	out := &outcome{}
	m.mu.Lock()
	if e, ok := op.ParseEntry(l.Data); ok {
		m.at = max(m.at, e.Stamp)
		m.table.Advance(m.at)
		for b, ok := e.Next(); ok; b, ok = e.Next() {
			m.applyChunk(out, l.Index, b)
			out.ends = append(out.ends, len(out.results))
		}
		m.timed.Store(m.table.Timed())
	}
	m.mu.Unlock()
	m.index.Store(l.Index)
	m.notify()
	return out
}

func (m *machine) applyChunk(out *outcome, index uint64, b []byte) {
	c, ok := op.ParseChunk(b)
	if !ok || len(c.Client) > maxClient {
		return
	}
	if out.results == nil {
		out.results = make([]op.Result, 0, c.Count)
	}
	if len(c.Client) == 0 {
		out.results = append(out.results, m.christen(&c))
		return
	}
	s := m.sessions.open(c.Client, m.at)
	for i := range c.Count {
		o, ok := c.Next()
		if !ok { // cut off; nothing of ours sends that
			out.results = append(out.results, op.Result{Code: op.Invalid})
			continue
		}
		out.results = append(out.results, m.once(s, index, c.First+uint64(i), o))
	}
}

// once applies an op unless it was applied before.
func (m *machine) once(s *session, index, seq uint64, o []byte) op.Result {
	if seq == 0 {
		return op.Result{Code: op.Invalid}
	}
	if s.high >= window && seq <= s.high-window {
		return op.Result{Code: op.Stale}
	}
	if p := s.slot(seq); p != nil && p.seq == seq {
		return p.result
	}
	r := m.table.Apply(index, m.at, o)
	s.keep(seq, r, m.sessions.epoch)
	return r
}

// christen gives the cluster its id. The first proposal stays; every proposal is answered with it.
func (m *machine) christen(c *op.Chunk) op.Result {
	id, ok := c.Next()
	if !ok || len(id) == 0 || len(id) > maxClient {
		return op.Result{Code: op.Invalid}
	}
	if m.cluster == "" {
		m.cluster = string(id)
	}
	return op.Result{Bytes: []byte(m.cluster)}
}

func (m *machine) read(o []byte) op.Result {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.table.Read(o)
}

// readChunk answers a chunk of reads, stopping once the answers are about limit bytes; 0 is no limit.
func (m *machine) readChunk(b []byte, limit int) []op.Result {
	c, ok := op.ParseChunk(b)
	if !ok {
		return nil
	}
	out, size := make([]op.Result, 0, c.Count), 0
	m.mu.RLock()
	defer m.mu.RUnlock()
	for o, ok := c.Next(); ok && len(out) < c.Count; o, ok = c.Next() {
		r := m.table.Read(o)
		out = append(out, r)
		if size += len(r.Bytes); limit > 0 && size > limit {
			break
		}
	}
	return out
}

func (m *machine) time() time.Duration {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.at
}

func (m *machine) clusterID() string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.cluster
}

func (m *machine) applied() <-chan struct{} {
	m.noticeMu.Lock()
	defer m.noticeMu.Unlock()
	if m.notice == nil {
		m.notice = make(chan struct{})
	}
	return m.notice
}

func (m *machine) notify() {
	m.noticeMu.Lock()
	if m.notice != nil {
		close(m.notice)
		m.notice = nil
	}
	m.noticeMu.Unlock()
}

// snapshotVersion is the first byte of a snapshot, before the cluster's id, the time, the sessions and the table.
const snapshotVersion = 1

// frozen is the state as it was at one entry; raft persists it while entries go on.
type frozen struct {
	head     []byte
	sessions func([]byte) []byte
	table    func(io.Writer) error
}

// Snapshot is called by raft between two entries.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	m.mu.Lock() // Read may not run beside Table.Snapshot
	defer m.mu.Unlock()
	head := op.Bytes([]byte{snapshotVersion}, m.cluster)
	return &frozen{op.Uvarint(head, uint64(m.at)), m.sessions.snapshot(), m.table.Snapshot()}, nil
}

// Persist is called by raft, beside Apply.
func (f *frozen) Persist(sink raft.SnapshotSink) error {
	_, err := sink.Write(f.sessions(f.head))
	if err == nil {
		err = f.table(sink)
	}
	if err != nil {
		_ = sink.Cancel()
		return fmt.Errorf("write snapshot: %w", err)
	}
	return sink.Close()
}

// Release is called by raft when it is done with a snapshot; there is nothing to give back.
func (f *frozen) Release() {}

// Restore is called by raft at start, and when the leader sends a snapshot.
func (m *machine) Restore(rc io.ReadCloser) error {
	defer rc.Close()
	return m.restore(rc)
}

func (m *machine) restore(r io.Reader) error {
	s := op.NewStream(r)
	if v := s.Byte(); s.Err() == nil && v != snapshotVersion {
		return fmt.Errorf("read snapshot: version %d is not known here", v)
	}
	id, at, sessions := s.String(maxClient), readTime(s), readSessions(s)
	if s.Err() != nil {
		return fmt.Errorf("read sessions: %w", s.Err())
	}
	m.mu.Lock()
	err := m.table.Restore(s)
	if err == nil {
		m.cluster, m.at, m.sessions = id, at, sessions
	}
	m.timed.Store(m.table.Timed())
	m.mu.Unlock()
	m.notify()
	return err
}

func readTime(s *op.Stream) time.Duration {
	return time.Duration(min(s.Uvarint(), math.MaxInt64))
}
