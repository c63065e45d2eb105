package cluster

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of a frame connection.
const (
	mostBacklog = 16 << 20         // bytes waiting to be written
	keepBuffer  = 1 << 20          // a larger write buffer is not kept for the next time
	writeTime   = 10 * time.Second // for one write: after that the other end does not read
)

// ErrLost says that the connection was lost while an answer was awaited: whether the other node did what
// it was asked is not known.
var ErrLost = errors.New("cluster: the connection was lost before an answer came")

var errBacklog = errors.New("too much waits to be written")

// wire is the writing half of a frame connection. Callers add frames to a buffer, and one goroutine writes
// what has gathered while it wrote the last lot: the more callers, the more frames share a write.
type wire struct {
	conn     net.Conn
	raw      net.Conn // what lies under TLS
	counters *counters

	mu   sync.Mutex
	out  []byte        // frames to be written
	held int           // of these, how many
	room chan struct{} // closed when out was taken; nil when nobody waits for that
	err  error         // why the connection is over
	wake chan struct{} // one slot: out is not empty
	done chan struct{} // closed with err

	heard atomic.Bool // something came in since it was last cleared
}

func newWire(conn *peerConn, n *counters) *wire {
	return &wire{conn: conn, raw: conn.NetConn(), counters: n, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// put adds a frame to what is to be written. With errBacklog it was not added; the channel says when to try
// again. The payload is copied.
func (w *wire) put(f *frame) (room <-chan struct{}, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil, w.err
	}
	if len(w.out) > 0 && len(w.out)+len(f.payload) > mostBacklog {
		if w.room == nil {
			w.room = make(chan struct{})
		}
		return w.room, errBacklog
	}
	first := len(w.out) == 0
	w.out = f.append(w.out)
	w.held++
	if first {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	return nil, nil
}

// write writes what put gathers, until the connection is over.
func (w *wire) write() {
	var spare []byte
	for {
		select {
		case <-w.wake:
		case <-w.done:
			return
		}
		runtime.Gosched() // callers that are ready to run add theirs first
		buf, frames := w.take(spare)
		if len(buf) == 0 {
			continue
		}
		w.counters.framesOut.Add(uint64(frames))
		w.counters.writesOut.Add(1)
		_ = w.conn.SetWriteDeadline(time.Now().Add(writeTime))
		if _, err := w.conn.Write(buf); err != nil {
			w.fail(ErrLost)
			return
		}
		if spare = buf; cap(spare) > keepBuffer {
			spare = nil
		}
	}
}

func (w *wire) take(spare []byte) (buf []byte, frames int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	buf, frames = w.out, w.held
	w.out, w.held = spare[:0], 0
	if w.room != nil {
		close(w.room)
		w.room = nil
	}
	return buf, frames
}

// fail ends the connection. Whoever waits on it gets err.
func (w *wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	w.err = err
	close(w.done)
	w.raw.Close() // TLS would say goodbye first, and wait for a peer that does not read
}

// broken is why the connection is over; nil while it is not.
func (w *wire) broken() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *wire) hear() {
	if !w.heard.Load() {
		w.heard.Store(true)
	}
}
