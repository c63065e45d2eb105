package op

import (
	"math"
	"time"
)

// Chunk is what one client packed at once: Count ops, numbered First, First+1 and so on. A retry carries the
// same numbers, by which a table knows it again.
type Chunk struct {
	Client []byte // who: its node and that node's boot; shares the input's bytes
	First  uint64
	Count  int
	ops    Reader
}

// ChunkHead appends the head of a chunk of count ops; the ops follow, each appended by Bytes.
func ChunkHead(b []byte, client string, first uint64, count int) []byte {
	b = Bytes(append(b, Version), client)
	return Uvarint(Uvarint(b, first), uint64(count))
}

// ParseChunk reads the head of a chunk and leaves its ops undecoded.
func ParseChunk(b []byte) (c Chunk, ok bool) {
	c.ops = Read(b)
	if c.ops.Byte() != Version {
		return Chunk{}, false
	}
	c.Client = c.ops.Bytes()
	c.First = c.ops.Uvarint()
	count := c.ops.Uvarint()
	// Each op takes a byte at least, so no count makes anyone allocate more than the chunk is long.
	if !c.ops.OK() || count > uint64(c.ops.Len()) || len(b) > MaxChunk || c.First > math.MaxUint64-count {
		return Chunk{}, false
	}
	c.Count = int(count)
	return c, true
}

// Next is the next op, sharing the chunk's bytes, or false if there is none.
func (c *Chunk) Next() ([]byte, bool) {
	if c.ops.Len() == 0 {
		return nil, false
	}
	o := c.ops.Bytes()
	return o, c.ops.OK()
}

// Entry is one entry of the log: what was appended at once, and the leader's time of it.
type Entry struct {
	Stamp  time.Duration
	chunks Reader
}

// EntryHead appends the head of an entry; the chunks follow, each appended by Bytes.
func EntryHead(b []byte, stamp time.Duration) []byte {
	return Uvarint(append(b, Version), uint64(stamp))
}

// ParseEntry reads the head of an entry.
func ParseEntry(b []byte) (e Entry, ok bool) {
	e.chunks = Read(b)
	v, stamp := e.chunks.Byte(), e.chunks.Uvarint()
	if v != Version || !e.chunks.OK() || stamp > math.MaxInt64 {
		return Entry{}, false
	}
	e.Stamp = time.Duration(stamp)
	return e, true
}

// Next is the next chunk, sharing the entry's bytes, or false if there is none.
func (e *Entry) Next() ([]byte, bool) {
	if e.chunks.Len() == 0 {
		return nil, false
	}
	c := e.chunks.Bytes()
	return c, e.chunks.OK()
}
