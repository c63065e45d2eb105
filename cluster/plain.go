package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// A plain request is for a process that has no part in the cluster and no TLS: 'T', length in two bytes,
// payload; the answer is length and payload. What it says must prove itself, as anybody can send one.

// LongestPlain bounds a plain request and its answer.
const LongestPlain = 4096

var errPlain = errors.New("the plain message is too long")

// HandlePlain says who answers plain requests; nil closes the connection without an answer. Call it before
// Run. The handler must not wait for long: with handshakes it shares 256 places and 5 seconds.
func (c *Cluster) HandlePlain(h func(payload []byte) (answer []byte)) { c.plain = h }

// servePlain reads one request, answers it, and leaves the rest to the caller.
func (c *Cluster) servePlain(conn io.ReadWriter) {
	payload, err := readPlain(conn)
	if err != nil || c.plain == nil {
		c.counters.plainRefused.Add(1)
		return
	}
	answer := c.plain(payload)
	if answer == nil || len(answer) > LongestPlain {
		c.counters.plainRefused.Add(1)
		return
	}
	c.counters.plain.Add(1)
	_, _ = conn.Write(appendPlain(nil, answer)) // whoever asked asks again
}

// SendPlain sends one plain request over a connection of its own and returns the answer. Without a deadline
// in ctx it gives up after 5 seconds.
func SendPlain(ctx context.Context, addr string, payload []byte) ([]byte, error) {
	answer, err := sendPlain(ctx, machine{}, addr, payload)
	if err != nil {
		return nil, fmt.Errorf("send to %s: %w", addr, err)
	}
	return answer, nil
}

func sendPlain(ctx context.Context, network Network, addr string, payload []byte) ([]byte, error) {
	if len(payload) > LongestPlain {
		return nil, errPlain
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	conn, err := network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(appendPlain([]byte{firstPlain}, payload)); err != nil {
		return nil, err
	}
	answer, err := readPlain(conn)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return answer, err
}

func appendPlain(dst, payload []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(payload)))
	return append(dst, payload...)
}

func readPlain(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(head[:])
	if n > LongestPlain {
		return nil, errPlain
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}
