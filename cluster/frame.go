package cluster

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// FrameKind says whose frame it is. Kinds from 0xF0 on are the cluster's own.
type FrameKind uint8

const (
	firstOwnKind FrameKind = 0xF0
	kindGossip   FrameKind = 0xF0 // one announcement
	kindBoot     FrameKind = 0xF1 // which boot are you?
)

// LongestFrame bounds the payload of a frame and of its answer.
const LongestFrame = 8 << 20

// A frame on the wire: type, kind, length of the payload (4), id (8), timeout in milliseconds (4), payload.
const frameHead = 18

// frameType is what a frame is. Types of later versions are skipped.
type frameType uint8

const (
	frameRequest frameType = iota + 1 // wants an answer with the same id
	frameSend                         // wants none
	frameAnswer
	frameFailure // the payload is an error text
	framePing    // wants a pong, whatever else goes on
	framePong
)

type frame struct {
	what    frameType
	kind    FrameKind
	id      uint64
	timeout uint32 // milliseconds the caller waits; 0: no limit
	payload []byte
}

// ErrTooLong says that a payload exceeds LongestFrame.
var ErrTooLong = errors.New("cluster: the payload is longer than a frame may be")

func (f *frame) append(dst []byte) []byte {
	dst = append(dst, byte(f.what), byte(f.kind))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(f.payload)))
	dst = binary.BigEndian.AppendUint64(dst, f.id)
	dst = binary.BigEndian.AppendUint32(dst, f.timeout)
	return append(dst, f.payload...)
}

// readFrame reads one frame. The payload is in memory of its own.
func readFrame(r *bufio.Reader) (f frame, err error) {
	head, err := r.Peek(frameHead)
	if err != nil {
		if err == io.EOF && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	f = frame{
		what: frameType(head[0]), kind: FrameKind(head[1]),
		id: binary.BigEndian.Uint64(head[6:]), timeout: binary.BigEndian.Uint32(head[14:]),
	}
	n := int(binary.BigEndian.Uint32(head[2:]))
	if n > LongestFrame {
		return frame{}, ErrTooLong
	}
	_, _ = r.Discard(frameHead) // just peeked
	f.payload, err = readPayload(r, n)
	return f, err
}

// bulk is how much is set aside for a payload before any of it has come.
const bulk = 64 << 10

func readPayload(r io.Reader, n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	b := make([]byte, min(n, bulk))
	for have := 0; ; {
		k, err := io.ReadFull(r, b[have:])
		if err != nil {
			return nil, noEOF(err)
		}
		if have += k; have == n {
			return b, nil
		}
		b = append(b, make([]byte, min(n-have, have))...)
	}
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
