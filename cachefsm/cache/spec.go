package cache

import (
	"errors"
	"fmt"

	"github.com/cohortd/cohort/cachefsm/op"
)

// What a spec may ask for.
const (
	MaxName      = 255
	MaxItems     = 1 << 30
	MaxBlockSize = 1 << 20 // a value is one op, and an op travels in one entry of the log
	MaxKeySize   = 4 << 10
	MaxCaches    = 1024

	DefaultBlockSize = 64 << 10
	DefaultKeySize   = 2 << 10
)

// Spec is the shape of one cache: what uWSGI's cache2 says of it.
type Spec struct {
	Name      string
	Items     int  // most items it holds; uWSGI holds one less
	BlockSize int  // most bytes of a value, default 65536
	KeySize   int  // most bytes of a key, default 2048
	Node      bool // scope=node: kept by this node alone, not replicated
	Open      bool // unavailable=open: routes go on when the cluster cannot answer, instead of 503
}

// Check says everything that is wrong with a spec.
func (s Spec) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Name == "" || len(s.Name) > MaxName {
		bad("the name of a cache has 1 to %d bytes, not %d", MaxName, len(s.Name))
	}
	if s.Items < 1 || s.Items > MaxItems {
		bad("items=%d: a cache holds 1 to %d items", s.Items, MaxItems)
	}
	if s.BlockSize < 0 || s.BlockSize > MaxBlockSize {
		bad("blocksize=%d: a value has at most %d bytes", s.BlockSize, MaxBlockSize)
	}
	if s.KeySize < 0 || s.KeySize > MaxKeySize {
		bad("keysize=%d: a key has at most %d bytes", s.KeySize, MaxKeySize)
	}
	return errors.Join(errs...)
}

// clamped is s with everything brought into bounds: no node is trusted to have checked.
func (s Spec) clamped() Spec {
	s.Items = min(max(s.Items, 1), MaxItems)
	if s.BlockSize <= 0 {
		s.BlockSize = DefaultBlockSize
	}
	if s.KeySize <= 0 {
		s.KeySize = DefaultKeySize
	}
	s.BlockSize, s.KeySize = min(s.BlockSize, MaxBlockSize), min(s.KeySize, MaxKeySize)
	return s
}

const (
	specNode = 1 << iota
	specOpen
)

func appendSpec(b []byte, s Spec) []byte {
	b = op.Bytes(b, s.Name)
	b = op.Uvarint(b, uint64(max(s.Items, 0)))
	b = op.Uvarint(b, uint64(max(s.BlockSize, 0)))
	b = op.Uvarint(b, uint64(max(s.KeySize, 0)))
	var flags byte
	if s.Node {
		flags |= specNode
	}
	if s.Open {
		flags |= specOpen
	}
	return append(b, flags)
}

func readSpec(r *op.Reader) Spec {
	s := Spec{Name: string(r.Bytes())}
	s.Items = int(min(r.Uvarint(), MaxItems))
	s.BlockSize = int(min(r.Uvarint(), MaxBlockSize))
	s.KeySize = int(min(r.Uvarint(), MaxKeySize))
	flags := r.Byte()
	s.Node, s.Open = flags&specNode != 0, flags&specOpen != 0
	return s
}
