package memnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pair is two hosts with a connection from a to b.
func pair(t *testing.T) (n *Net, a, b net.Conn) {
	t.Helper()
	n = New(t)
	ha, hb := n.Host("a", "10.0.0.1"), n.Host("b", "10.0.0.2")
	l, err := hb.Listen(":7400")
	if err != nil {
		t.Fatal(err)
	}
	if a, err = ha.Dial(t.Context(), "10.0.0.2:7400"); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return n, a, b
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		t.Fatalf("Write(%q): %v", s, err)
	}
}

// wantRead reads what must arrive within a second.
func wantRead(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v; want %q", b, err, want)
	}
}

// wantSilence asserts that nothing arrives within a second.
func wantSilence(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Read = %d, %v; want a deadline", n, err)
	}
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, a, b := pair(t)
		write(t, a, "hello")
		wantRead(t, b, "hello")
		write(t, b, "you")
		wantRead(t, a, "you")
		if got, want := b.RemoteAddr().String(), a.LocalAddr().String(); got != want {
			t.Errorf("RemoteAddr = %s, want %s", got, want)
		}
		write(t, a, "last")
		a.Close()
		wantRead(t, b, "last")
		if _, err := b.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("Read after Close of the other end: %v, want EOF", err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Write after Close of the other end: %v, want a reset", err)
		}
		if err := a.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v, want ErrClosed", err)
		}
	})
}

func TestCutHoldsBytesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, a, b := pair(t)
		n.Cut("a", "b")
		write(t, a, "one")
		write(t, a, "two")
		wantSilence(t, b)
		n.Heal()
		wantRead(t, b, "onetwo")
	})
}

func TestCutHoldsTheEndBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, a, b := pair(t)
		n.Isolate("a")
		write(t, a, "one")
		a.Close()
		wantSilence(t, b)
		n.Heal()
		wantRead(t, b, "one")
		if _, err := b.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("Read = %v, want EOF", err)
		}
	})
}

func TestCutOneWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, a, b := pair(t)
		n.CutOneWay("a", "b")
		write(t, a, "held")
		wantSilence(t, b)
		write(t, b, "passes")
		wantRead(t, a, "passes")
		for _, from := range []string{"a", "b"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			to := map[string]string{"a": "10.0.0.2:7400", "b": "10.0.0.1:7400"}[from]
			if _, err := n.hosts[from].Dial(ctx, to); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Dial from %s through a one way cut: %v, want a deadline", from, err)
			}
			cancel()
		}
	})
}

func TestDialWaitsForTheCable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, _, _ := pair(t)
		n.Cut("a", "b")
		time.AfterFunc(3*time.Second, n.Heal)
		start := time.Now()
		c, err := n.hosts["a"].Dial(t.Context(), "10.0.0.2:7400")
		if err != nil || time.Since(start) != 3*time.Second {
			t.Fatalf("Dial = %v, %v after %s; want a connection after 3s", c, err, time.Since(start))
		}
	})
}

func TestDialRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, _, _ := pair(t)
		if _, err := n.hosts["a"].Dial(t.Context(), "10.0.0.2:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial of a closed port: %v, want refused", err)
		}
		n.Kill("b")
		if _, err := n.hosts["a"].Dial(t.Context(), "10.0.0.2:7400"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial of a killed host: %v, want refused", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.hosts["a"].Dial(ctx, "10.0.0.9:7400"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial of an address that nobody has: %v, want a deadline", err)
		}
	})
}

func TestKill(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, a, b := pair(t)
		read := make(chan error, 2)
		for _, c := range []net.Conn{a, b} {
			go func() {
				_, err := c.Read(make([]byte, 1))
				read <- err
			}()
		}
		synctest.Wait()
		n.Kill("b")
		for range 2 {
			if err := <-read; !errors.Is(err, errReset) && !errors.Is(err, errDown) {
				t.Errorf("Read after Kill: %v", err)
			}
		}
		if _, err := n.hosts["b"].Listen(":1"); !errors.Is(err, errDown) {
			t.Errorf("Listen on a killed host: %v", err)
		}
		again := n.Host("b", "10.0.0.2")
		if _, err := again.Listen(":7400"); err != nil {
			t.Errorf("Listen after the restart: %v", err)
		}
	})
}

func TestPowerLossIsSilent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, a, b := pair(t)
		n.Isolate("b")
		n.Kill("b")
		wantSilence(t, a)
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, errDown) {
			t.Errorf("Read on the dead host: %v", err)
		}
		n.Heal()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Read after the heal: %v", err)
		}
	})
}

func TestSlowReaderStopsTheWriter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, a, b := pair(t)
		data := bytes.Repeat([]byte("0123456789"), window/5)
		_ = a.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := a.Write(data)
		if !errors.Is(err, os.ErrDeadlineExceeded) || n != window {
			t.Fatalf("Write = %d, %v; want %d and a deadline", n, err, window)
		}
		_ = a.SetWriteDeadline(time.Time{})
		done := make(chan error, 1)
		go func() { _, err := a.Write(data[n:]); done <- err }()
		got := make([]byte, len(data))
		if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("read %d bytes, %v; they differ: %v", len(got), err, !bytes.Equal(got, data))
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestDelayKeepsOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, a, b := pair(t)
		n.Delay(20*time.Millisecond, 30*time.Millisecond)
		start := time.Now()
		var want []byte
		for i := range 100 {
			write(t, a, string(rune('a'+i%26)))
			want = append(want, byte('a'+i%26))
		}
		wantRead(t, b, string(want))
		if d := time.Since(start); d < 20*time.Millisecond || d > 50*time.Millisecond {
			t.Errorf("arrived after %s, want 20ms to 50ms", d)
		}
	})
}

// sendPackets sends one datagram for each number and says which arrived, in order of arrival.
func sendPackets(t *testing.T, n *Net, count int) (arrived []int) {
	t.Helper()
	from, err := n.Host("c", "10.0.0.3").ListenPacket(":0")
	if err != nil {
		t.Fatal(err)
	}
	to, err := n.Host("d", "10.0.0.4").ListenPacket(":9")
	if err != nil {
		t.Fatal(err)
	}
	for i := range count {
		if _, err := from.WriteTo([]byte{byte(i)}, to.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 10)
	for {
		_ = to.SetReadDeadline(time.Now().Add(time.Second))
		k, who, err := to.ReadFrom(b)
		if err != nil {
			return arrived
		}
		if k != 1 || who.String() != from.LocalAddr().String() {
			t.Fatalf("ReadFrom = %d bytes from %s, want 1 from %s", k, who, from.LocalAddr())
		}
		arrived = append(arrived, int(b[0]))
	}
}

func TestPackets(t *testing.T) {
	for name, tt := range map[string]struct {
		set      func(*Net)
		min, max int
		ordered  bool
	}{
		"all arrive":           {func(*Net) {}, 100, 100, true},
		"half is lost":         {func(n *Net) { n.Loss(0.5) }, 30, 70, true},
		"all is lost":          {func(n *Net) { n.Loss(1) }, 0, 0, true},
		"cut":                  {func(n *Net) { n.Cut("c", "d") }, 0, 0, true},
		"cut that way":         {func(n *Net) { n.CutOneWay("c", "d") }, 0, 0, true},
		"cut the other way":    {func(n *Net) { n.CutOneWay("d", "c") }, 100, 100, true},
		"jitter changes order": {func(n *Net) { n.Delay(0, 50*time.Millisecond) }, 100, 100, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := New(t)
				tt.set(n)
				got := sendPackets(t, n, 100)
				if len(got) < tt.min || len(got) > tt.max {
					t.Errorf("%d of 100 arrived, want %d to %d", len(got), tt.min, tt.max)
				}
				if ordered := slices.IsSorted(got); ordered != tt.ordered {
					t.Errorf("in order: %v, want %v", ordered, tt.ordered)
				}
			})
		})
	}
}

func TestPortsAreTaken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := New(t).Host("a", "10.0.0.1")
		l, err := h.Listen("10.0.0.1:7400")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Listen(":7400"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second Listen: %v, want in use", err)
		}
		if _, err := h.ListenPacket("10.0.0.2:1"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("ListenPacket on another's address: %v", err)
		}
		l.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
		if _, err := h.Listen("0.0.0.0:7400"); err != nil {
			t.Errorf("Listen after Close: %v", err)
		}
	})
}

func TestClock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := NewClock(1.5, time.Hour)
		time.Sleep(10 * time.Second)
		if r := c.Now(); r.Boot != time.Hour+15*time.Second || r.Raw != r.Boot || r.Mono != r.Boot {
			t.Errorf("Now = %+v, want 1h0m15s on all", r)
		}
		c.SetRate(1)
		c.Suspend()
		time.Sleep(time.Minute)
		c.Resume()
		if r := c.Now(); r.Boot != time.Hour+75*time.Second || r.Mono != time.Hour+15*time.Second {
			t.Errorf("Now after Suspend = %+v, want boot 1h1m15s, mono 1h0m15s", r)
		}
		c.Pause()
		time.Sleep(time.Minute)
		c.Resume()
		time.Sleep(time.Second)
		if r := c.Now(); r.Boot != time.Hour+76*time.Second || r.Mono != time.Hour+16*time.Second {
			t.Errorf("Now after Pause = %+v, want boot 1h1m16s, mono 1h0m16s", r)
		}
	})
}
