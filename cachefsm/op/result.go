package op

import (
	"slices"
	"time"
)

// What follows a result's code on the wire.
const (
	hasNum = 1 << iota
	hasBytes
	hasLeft
	isNumber
)

// AppendResult appends one result.
func AppendResult(b []byte, r Result) []byte {
	var flags byte
	if r.Num != 0 {
		flags |= hasNum
	}
	if len(r.Bytes) > 0 {
		flags |= hasBytes
	}
	if r.Left != 0 {
		flags |= hasLeft
	}
	if r.IsNum {
		flags |= isNumber
	}
	b = append(b, byte(r.Code), flags)
	if flags&hasNum != 0 {
		b = Varint(b, r.Num)
	}
	if flags&hasBytes != 0 {
		b = Bytes(b, r.Bytes)
	}
	if flags&hasLeft != 0 {
		b = Varint(b, int64(r.Left))
	}
	return b
}

// Result takes one result. Its bytes are a copy, so that a small result does not keep a large frame alive.
func (r *Reader) Result() (res Result) {
	res.Code = Code(r.Byte())
	flags := r.Byte()
	if flags >= isNumber<<1 {
		r.bad = true // of a later version: guessing what follows would misread the rest
	}
	res.IsNum = flags&isNumber != 0
	if flags&hasNum != 0 {
		res.Num = r.Varint()
	}
	if flags&hasBytes != 0 {
		res.Bytes = slices.Clone(r.Bytes())
	}
	if flags&hasLeft != 0 {
		res.Left = time.Duration(r.Varint())
	}
	return res
}

// AppendResults appends results until about limit bytes are reached, at least one, and says how many it took.
func AppendResults(b []byte, rs []Result, limit int) ([]byte, int) {
	start, n := len(b), 0
	b = append(b, Version)
	for _, r := range rs {
		if n > 0 && len(b)-start+len(r.Bytes) > limit {
			break
		}
		b = AppendResult(b, r)
		n++
	}
	return b, n
}

// ParseResults appends the results in b to rs, at most limit of them.
func ParseResults(rs []Result, b []byte, limit int) ([]Result, bool) {
	r := Read(b)
	if r.Byte() != Version {
		return rs, false
	}
	for r.Len() > 0 {
		if limit--; limit < 0 {
			return rs, false
		}
		rs = append(rs, r.Result())
	}
	return rs, r.OK()
}
