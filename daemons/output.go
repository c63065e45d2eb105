package daemons

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"
)

const (
	maxLine   = 4096      // longer lines are cut
	tapTurn   = 32 << 10  // read from one program before the others and the deadline have their turn
	maxQueued = 128 << 10 // for the node; above it, lines are counted and not kept
)

// tap is one output stream of a program.
type tap struct {
	fd          int
	tag, stream string
	rest        []byte // of a line that has not ended
}

// tap makes a pipe for a program and returns the program's end.
func (g *guard) tap(tag, stream string) (int, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, os.NewSyscallError("pipe", err)
	}
	unix.SetNonblock(p[0], true) //nolint:errcheck // cannot fail on a pipe
	g.taps = append(g.taps, &tap{fd: p[0], tag: tag, stream: stream})
	return p[1], nil
}

// readTaps moves output on. It reads whether or not anybody listens, so no program ever waits for the node.
func (g *guard) readTaps() {
	kept := g.taps[:0]
	for _, t := range g.taps {
		open := true
		for read := 0; open && read < tapTurn; {
			n, err := unix.Read(t.fd, g.buf[:])
			if err == unix.EAGAIN || err == unix.EINTR {
				break
			}
			if n <= 0 {
				open = false
				break
			}
			read += n
			t.cut(g.buf[:n], g.line)
		}
		if open {
			kept = append(kept, t)
			continue
		}
		t.finish(g.line)
		unix.Close(t.fd)
	}
	clear(g.taps[len(kept):])
	g.taps = kept
}

// cut takes lines out of what was read.
func (t *tap) cut(b []byte, line func(tag, stream string, text []byte)) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		part := b
		if i >= 0 {
			part = b[:i]
		}
		part = part[:min(len(part), maxLine-len(t.rest))]
		whole := len(t.rest)+len(part) == maxLine
		b = b[len(part):]
		if !whole && i < 0 {
			t.rest = append(t.rest, part...)
			return
		}
		if i >= 0 && len(part) == i {
			b = b[1:]
		}
		if len(t.rest) > 0 {
			part = append(t.rest, part...)
			t.rest = t.rest[:0]
		}
		line(t.tag, t.stream, bytes.TrimSuffix(part, []byte("\r")))
	}
}

// finish tells the last line, which had no end.
func (t *tap) finish(line func(tag, stream string, text []byte)) {
	if len(t.rest) > 0 {
		line(t.tag, t.stream, t.rest)
		t.rest = nil
	}
}

// outbox is what the node has not taken yet.
type outbox struct {
	buf     []byte
	dropped uint64
}

func (o *outbox) pending() bool { return len(o.buf) > 0 }

// must queues what has to arrive: there is little of it.
func (o *outbox) must(m *message) {
	b, err := appendFrame(o.buf, m)
	if err == nil {
		o.buf = b
	}
}

// full says that the node does not keep up; what may be lost is only counted then.
func (o *outbox) full() bool {
	if len(o.buf) <= maxQueued {
		return false
	}
	o.dropped++
	return true
}

// may queues what is lost when the node does not read.
func (o *outbox) may(m *message) {
	if o.full() {
		return
	}
	if o.dropped > 0 {
		o.must(&message{kind: kindDropped, count: o.dropped})
		o.dropped = 0
	}
	o.must(m)
}

func (g *guard) line(tag, stream string, text []byte) {
	if !g.eof && !g.out.full() {
		g.out.may(&message{kind: kindLine, tag: tag, stream: stream, text: string(text)})
	}
}

// note writes to the node's log.
func (g *guard) note(tag, text string, warn bool) {
	if !g.eof {
		g.out.may(&message{kind: kindNote, tag: tag, text: text, warn: warn})
	}
}

// flush gives the node what it takes without waiting.
func (g *guard) flush() {
	for !g.eof && len(g.out.buf) > 0 {
		n, err := unix.Write(g.control, g.out.buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return
		case err != nil:
			g.out.buf = nil // the end of the channel is seen by drain
			return
		}
		g.out.buf = append(g.out.buf[:0], g.out.buf[n:]...)
	}
}
