package op

import "encoding/binary"

// Reader takes apart what was framed here. Once something does not fit it is bad for good and yields zeros,
// so a decoder asks once, at its end. What it returns shares the input's bytes.
type Reader struct {
	b   []byte
	at  int
	bad bool
}

// Read starts reading b.
func Read(b []byte) Reader { return Reader{b: b} }

func (r *Reader) fail() {
	r.bad, r.at = true, len(r.b)
}

// Byte takes one byte.
func (r *Reader) Byte() byte {
	if r.at >= len(r.b) {
		r.bad = true
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

// Uvarint takes an unsigned number.
func (r *Reader) Uvarint() uint64 {
	if r.at < len(r.b) && r.b[r.at] < 0x80 {
		r.at++
		return uint64(r.b[r.at-1])
	}
	return r.longUvarint()
}

func (r *Reader) longUvarint() uint64 {
	var v uint64
	for i, c := range r.b[r.at:] {
		if c < 0x80 {
			if i >= binary.MaxVarintLen64 || i == binary.MaxVarintLen64-1 && c > 1 {
				break // over 64 bits
			}
			r.at += i + 1
			return v | uint64(c)<<(7*i)
		}
		v |= uint64(c&0x7f) << (7 * i)
	}
	r.fail()
	return 0
}

// Varint takes a signed number.
func (r *Reader) Varint() int64 {
	u := r.Uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// Bytes takes a length and that many bytes.
func (r *Reader) Bytes() []byte {
	if at := r.at; at < len(r.b) {
		// Lengths are short nearly always; this is the hottest line of decoding.
		if n := int(r.b[at]); n < 0x80 && n < len(r.b)-at {
			r.at = at + 1 + n
			return r.b[at+1 : r.at : r.at]
		}
	}
	return r.longBytes()
}

func (r *Reader) longBytes() []byte {
	n := r.Uvarint()
	if n > uint64(len(r.b)-r.at) {
		r.fail()
		return nil
	}
	from := r.at
	r.at += int(n)
	return r.b[from:r.at:r.at]
}

// Len is how many bytes are left.
func (r *Reader) Len() int { return len(r.b) - r.at }

// OK says that everything so far fitted.
func (r *Reader) OK() bool { return !r.bad }

// Done says that everything fitted and nothing is left.
func (r *Reader) Done() bool { return !r.bad && r.at == len(r.b) }

// Uvarint appends an unsigned number.
func Uvarint(b []byte, v uint64) []byte {
	if v < 0x80 {
		return append(b, byte(v))
	}
	return binary.AppendUvarint(b, v)
}

// Varint appends a signed number.
func Varint(b []byte, v int64) []byte {
	return Uvarint(b, uint64(v)<<1^uint64(v>>63))
}

// Bytes appends a length and the bytes.
func Bytes[T string | []byte](b []byte, s T) []byte {
	return append(Uvarint(b, uint64(len(s))), s...)
}
