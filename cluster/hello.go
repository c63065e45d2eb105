package cluster

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Inside TLS the dialler says what it wants and which cluster it belongs to, and the other end answers with
// one byte. Only that byte proves that the other end took this one's certificate: in TLS 1.3 the dialler's
// handshake is complete before the listener has checked it.
//
//	kind | version | boot, 8 bytes | length of cluster id | cluster id
const (
	helloVersion = 1
	helloHead    = 11
)

// Kinds of connections. Streams have the kinds their users name.
const (
	kindMemberlist = 'M'
	kindFrames     = 'F'
)

// Answers to a hello.
const (
	helloWelcome = 'K'
	helloForeign = 'C' // followed by the listener's cluster id, its length first
	helloNobody  = 'X' // nobody here takes connections of this kind
)

// handshakeTime is how long either end waits for the other until a connection is ready.
const handshakeTime = 5 * time.Second

// ForeignError says that the other node belongs to another cluster than this one, although it has the same
// secret: it was started with the wrong addresses or the wrong data directory.
type ForeignError struct {
	Addr   string // of the other node
	Ours   string // cluster ids
	Theirs string
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("cluster: %s belongs to cluster %s and this node to cluster %s: check cluster-join, or give this node an empty data directory to join the other", e.Addr, e.Theirs, e.Ours)
}

var (
	errNobody = errors.New("nobody takes such connections there")
	errHello  = errors.New("the greeting cannot be read")
)

// hello is what a dialler says first.
type hello struct {
	kind    byte
	boot    uint64
	cluster string
}

func (h hello) append(dst []byte) []byte {
	dst = append(dst, h.kind, helloVersion)
	dst = binary.BigEndian.AppendUint64(dst, h.boot)
	dst = append(dst, byte(len(h.cluster)))
	return append(dst, h.cluster...)
}

func readHello(r io.Reader) (h hello, err error) {
	var b [helloHead + longestClusterID]byte
	if _, err := io.ReadFull(r, b[:helloHead]); err != nil {
		return h, err
	}
	n := int(b[10])
	if b[1] < helloVersion || n > longestClusterID {
		return h, errHello
	}
	if _, err := io.ReadFull(r, b[helloHead:helloHead+n]); err != nil {
		return h, err
	}
	return hello{kind: b[0], boot: binary.BigEndian.Uint64(b[2:]), cluster: string(b[helloHead : helloHead+n])}, nil
}

// areForeign says whether two nodes belong to different clusters. One that belongs to none may join.
func areForeign(ours, theirs string) bool { return ours != "" && theirs != "" && ours != theirs }

// dialler makes connections to other nodes.
type dialler struct {
	net     Network
	tls     *tls.Config
	boot    uint64
	cluster func() string
	conns   *connSet // nil: nobody closes them but their user
}

// peerConn is a connection that is ready for use, and who is at the other end.
type peerConn struct {
	*tls.Conn
	id   string
	boot uint64 // 0 on the dialler's side: it is not told
}

// dial connects and greets. want is the id the other node must have; "" takes any.
func (d *dialler) dial(ctx context.Context, addr string, kind byte, want string) (*peerConn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	raw, err := d.net.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	if d.conns != nil {
		if raw = d.conns.add(raw, nil); raw == nil {
			return nil, ErrClosed
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	c, err := d.greet(raw, addr, kind, want)
	if !stop() && err == nil {
		err = ctx.Err() // the deadline is or will be on the connection
	}
	if err != nil {
		raw.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("greet %s: %w", addr, ctx.Err())
		}
		return nil, err
	}
	return c, nil
}

func (d *dialler) greet(raw net.Conn, addr string, kind byte, want string) (*peerConn, error) {
	conn := tls.Client(raw, d.tls)
	if err := conn.Handshake(); err != nil {
		return nil, fmt.Errorf("greet %s: %w", addr, err)
	}
	id := nodeOf(conn.ConnectionState().PeerCertificates[0])
	if want != "" && id != want {
		return nil, fmt.Errorf("greet %s: node %s answers there, not %s", addr, id, want)
	}
	ours := d.cluster()
	if _, err := conn.Write(hello{kind: kind, boot: d.boot, cluster: ours}.append(nil)); err != nil {
		return nil, fmt.Errorf("greet %s: %w", addr, asSecret(err))
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return nil, fmt.Errorf("greet %s: %w", addr, asSecret(err))
	}
	switch answer[0] {
	case helloWelcome:
		return &peerConn{Conn: conn, id: id}, nil
	case helloForeign:
		theirs, err := readShort(conn)
		if err != nil {
			return nil, fmt.Errorf("greet %s: %w", addr, err)
		}
		return nil, &ForeignError{Addr: addr, Ours: ours, Theirs: theirs}
	case helloNobody:
		return nil, fmt.Errorf("greet %s: %w", addr, errNobody)
	}
	return nil, fmt.Errorf("greet %s: %w", addr, errHello)
}

// asSecret names the cause when the listener did not take our certificate.
func asSecret(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" { // how crypto/tls hands on an alert
		return ErrSecret
	}
	return err
}

func readShort(r io.Reader) (string, error) {
	var b [1 + longestClusterID]byte
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return "", err
	}
	if int(b[0]) > longestClusterID {
		return "", errHello
	}
	_, err := io.ReadFull(r, b[1:1+b[0]])
	return string(b[1 : 1+b[0]]), err
}
