package op

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrCorrupt says that a snapshot cannot be read.
var ErrCorrupt = errors.New("snapshot is cut off or corrupt")

// Stream is a Reader for what is too long to hold in memory: a snapshot. It may read beyond what it was
// asked for; share one Stream among all who read from the same source.
type Stream struct {
	r        io.Reader
	buf      []byte
	pos, end int
	err      error
}

// NewStream reads from r.
func NewStream(r io.Reader) *Stream { return &Stream{r: r, buf: make([]byte, 256<<10)} }

// Err says what went wrong, if anything did.
func (s *Stream) Err() error { return s.err }

// Fail makes the stream end here; the first reason stays.
func (s *Stream) Fail(err error) {
	if s.err == nil {
		s.err = err
	}
	s.pos, s.end = 0, 0
}

// have makes n bytes available in the buffer, which must be able to hold them, or fewer at the end.
func (s *Stream) have(n int) int {
	if s.end-s.pos >= n || s.err != nil {
		return s.end - s.pos
	}
	s.end = copy(s.buf, s.buf[s.pos:s.end])
	s.pos = 0
	for s.end < n {
		got, err := s.r.Read(s.buf[s.end:])
		s.end += got
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.Fail(fmt.Errorf("read snapshot: %w", err))
			}
			break
		}
	}
	return s.end - s.pos
}

// Read reads what follows as it is: a Stream is an io.Reader too.
func (s *Stream) Read(p []byte) (int, error) {
	if s.have(1) < 1 {
		if s.err != nil {
			return 0, s.err
		}
		return 0, io.EOF
	}
	n := copy(p, s.buf[s.pos:s.end])
	s.pos += n
	return n, nil
}

// Byte takes one byte.
func (s *Stream) Byte() byte {
	if s.have(1) < 1 {
		s.Fail(ErrCorrupt)
		return 0
	}
	s.pos++
	return s.buf[s.pos-1]
}

// Uvarint takes an unsigned number.
func (s *Stream) Uvarint() uint64 {
	s.have(binary.MaxVarintLen64)
	v, n := binary.Uvarint(s.buf[s.pos:s.end])
	if n <= 0 {
		s.Fail(ErrCorrupt)
		return 0
	}
	s.pos += n
	return v
}

// Varint takes a signed number.
func (s *Stream) Varint() int64 {
	u := s.Uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// Count takes an unsigned number that must not be over limit.
func (s *Stream) Count(limit int) int {
	n := s.Uvarint()
	if n > uint64(limit) {
		s.Fail(ErrCorrupt)
		return 0
	}
	return int(n)
}

// Bytes takes a length, which must not be over limit, and that many bytes. They are good until the next call.
func (s *Stream) Bytes(limit int) []byte {
	n := s.Count(limit)
	if s.err != nil {
		return nil
	}
	if n <= len(s.buf) {
		if s.have(n) < n {
			s.Fail(ErrCorrupt)
			return nil
		}
		s.pos += n
		return s.buf[s.pos-n : s.pos]
	}
	var b []byte // grows with what really arrives, whatever length was claimed
	for len(b) < n {
		got := min(s.have(min(n-len(b), len(s.buf))), n-len(b))
		if got <= 0 {
			s.Fail(ErrCorrupt)
			return nil
		}
		b = append(b, s.buf[s.pos:s.pos+got]...)
		s.pos += got
	}
	return b
}

// Copy takes what Bytes takes and keeps it.
func (s *Stream) Copy(limit int) []byte { return append([]byte(nil), s.Bytes(limit)...) }

// String takes what Bytes takes, as a string.
func (s *Stream) String(limit int) string { return string(s.Bytes(limit)) }
