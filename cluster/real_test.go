package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"
)

// These tests use real sockets on loopback, and poll with a deadline where others act.

// realNode runs a node on a free port of loopback.
func realNode(t testing.TB, id *Identity, keys *Keys, join ...string) *Cluster {
	t.Helper()
	cfg := Config{Name: "test", Node: "real", Bind: "127.0.0.1:0", Join: join}
	c, err := Open(cfg, id, keys, Meta{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c.Handle(1, func(_ context.Context, _ string, payload []byte) ([]byte, error) { return payload, nil })
	c.HandlePlain(func(payload []byte) []byte {
		if string(payload) == "silence" {
			return nil
		}
		return append([]byte("got "), payload...)
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended, ready := make(chan error, 1), make(chan struct{})
	go func() { ended <- c.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("Run = %v", err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return c
}

// poll waits for something that others do in real time.
func poll(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not within 10s: %s", what)
		}
	}
}

func countAlive(c *Cluster) (n int) {
	for _, m := range c.Members() {
		if m.Alive {
			n++
		}
	}
	return n
}

func connect(t *testing.T, c *Cluster) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", c.Self().Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

func TestSilentClientsBlockNobody(t *testing.T) {
	a := realNode(t, NewIdentity("", 1), testKeys())
	for range 40 {
		connect(t, a)
	}
	poll(t, "the silent ones wait", func() bool { return a.Stats().Pending == 40 })
	start := time.Now()
	b := realNode(t, NewIdentity("", 1), testKeys(), a.Self().Addr)
	poll(t, "both are members", func() bool { return countAlive(a) == 2 && countAlive(b) == 2 })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if got, err := b.Call(ctx, a.Self().ID, 1, []byte("hi")); err != nil || string(got) != "hi" {
		t.Errorf("Call = %q, %v", got, err)
	}
	if d := time.Since(start); d > handshakeTime {
		t.Errorf("it took %s, so the silent ones were waited for", d)
	}
}

func TestTooManyPending(t *testing.T) {
	a := realNode(t, NewIdentity("", 1), testKeys())
	first := connect(t, a)
	poll(t, "the first waits", func() bool { return a.Stats().Pending == 1 })
	for range mostPending + 20 {
		connect(t, a)
	}
	poll(t, "some had to go", func() bool { return a.Stats().Evicted == 21 && a.Stats().Pending == mostPending })
	if _, err := first.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read on the connection that waited longest: %v, want it closed", err)
	}
	p, err := DialPeer(t.Context(), a.Self().Addr, testKeys(), newUUID())
	if err != nil {
		t.Fatalf("DialPeer beside %d silent ones: %v", mostPending, err)
	}
	p.Close()
}

func TestOtherSecretOnRealSockets(t *testing.T) {
	a := realNode(t, NewIdentity("", 1), testKeys())
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := DialPeer(ctx, a.Self().Addr, otherKeys(), newUUID()); !errors.Is(err, ErrSecret) {
		t.Errorf("DialPeer with another secret: %v, want ErrSecret", err)
	}
	poll(t, "it is counted", func() bool { return a.Stats().HandshakesFailed == 1 })

	conn, err := net.Dial("udp", a.Self().Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	other := newPacketSeal(otherKeys())
	for _, b := range [][]byte{other.seal(nil, []byte("hello")), []byte("junk"), bytes.Repeat([]byte{1}, 1200), {0}} {
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	poll(t, "packets are counted", func() bool { return a.Stats().PacketsRefused == 4 })
}

// A dialler that accepts any certificate learns only then that its own was not taken.
func TestListenerChecksTheDialler(t *testing.T) {
	a := realNode(t, NewIdentity("", 1), testKeys())
	d := dialler{net: machine{}, cluster: func() string { return "" }}
	var err error
	if d.tls, err = otherKeys().tlsConfig(newUUID()); err != nil {
		t.Fatal(err)
	}
	d.tls.VerifyConnection = nil
	if _, err = d.dial(t.Context(), a.Self().Addr, kindFrames, ""); !errors.Is(err, ErrSecret) {
		t.Errorf("dial = %v, want ErrSecret", err)
	}
}

func TestHostileBytes(t *testing.T) {
	a := realNode(t, NewIdentity("", 1), testKeys())
	junk := make([]byte, 100_000)
	_, _ = rand.Read(junk)
	for name, b := range map[string][]byte{
		"http":                []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"junk after TLS":      append([]byte{firstTLS}, junk...),
		"an endless record":   append([]byte{firstTLS, 3, 1, 0xff, 0xff}, junk...),
		"zeros":               make([]byte, 1000),
		"a long plain frame":  append([]byte{firstPlain, 0xff, 0xff}, junk...),
		"half a plain frame":  {firstPlain, 0, 10, 1, 2},
		"a plain frame twice": {firstPlain, 0, 1, 'a', firstPlain, 0, 1, 'b'},
	} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, a)
			_, _ = conn.Write(b)
			_ = conn.(*net.TCPConn).CloseWrite()
			got, err := io.ReadAll(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("the connection stays open")
			}
			if len(got) > 20 {
				t.Errorf("it answered %q", got)
			}
		})
	}
	poll(t, "nobody is pending", func() bool { return a.Stats().Pending == 0 })
	p, err := DialPeer(t.Context(), a.Self().Addr, testKeys(), newUUID())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if got, err := p.Call(t.Context(), 1, []byte("still here")); err != nil || string(got) != "still here" {
		t.Errorf("Call = %q, %v", got, err)
	}
}

// Whoever has the secret and sends nonsense inside loses its connection and nothing else happens.
func TestHostileMember(t *testing.T) {
	a := realNode(t, NewIdentity("", 1), testKeys())
	tls, err := testKeys().tlsConfig(newUUID())
	if err != nil {
		t.Fatal(err)
	}
	d := dialler{net: machine{}, tls: tls, cluster: func() string { return "" }}
	junk := make([]byte, 100_000)
	_, _ = rand.Read(junk)
	for _, kind := range []byte{kindFrames, kindMemberlist} {
		conn, err := d.dial(t.Context(), a.Self().Addr, kind, "")
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = conn.Write(append(bytes.Repeat([]byte{0xff}, frameHead), junk...))
		_ = conn.CloseWrite()
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("kind %q: the connection stays open", kind)
		}
		conn.Close()
	}
	if _, err := d.dial(t.Context(), a.Self().Addr, 'z', ""); !errors.Is(err, errNobody) {
		t.Errorf("dial of a kind nobody takes: %v, want errNobody", err)
	}
	if n := countAlive(a); n != 1 {
		t.Errorf("%d members alive, want 1", n)
	}
}

func TestPlain(t *testing.T) {
	a := realNode(t, NewIdentity("", 1), testKeys())
	if got, err := SendPlain(t.Context(), a.Self().Addr, []byte("ticket")); err != nil || string(got) != "got ticket" {
		t.Errorf("SendPlain = %q, %v", got, err)
	}
	if got, err := SendPlain(t.Context(), a.Self().Addr, []byte("silence")); err == nil {
		t.Errorf("SendPlain without an answer = %q, want an error", got)
	}
	if _, err := SendPlain(t.Context(), a.Self().Addr, make([]byte, LongestPlain+1)); err == nil {
		t.Error("SendPlain of too much: want an error")
	}
	if s := a.Stats(); s.Plain != 1 || s.PlainRefused != 1 {
		t.Errorf("Stats = %+v, want 1 answered, 1 refused", s)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := SendPlain(ctx, l.Addr().String(), []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("SendPlain to nobody = %v, want the deadline", err)
	}
}

func TestPortIsTaken(t *testing.T) {
	a := realNode(t, NewIdentity("", 1), testKeys())
	cfg := Config{Node: "second", Bind: a.Self().Addr}
	if c, err := Open(cfg, NewIdentity("", 1), testKeys(), Meta{}, nil, nil); err == nil {
		c.Close()
		t.Error("Open on a port that is taken: want an error")
	}
	free := Config{Node: "third", Bind: "127.0.0.1:0"}
	c, err := Open(free, NewIdentity("", 1), testKeys(), Meta{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	l, err := net.Listen("tcp", c.Self().Addr)
	if err != nil {
		t.Fatalf("the port after Close: %v", err)
	}
	l.Close()
}
