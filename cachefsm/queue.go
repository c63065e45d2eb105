package cachefsm

import (
	"context"
	"sync"

	"github.com/cohortd/cohort/cachefsm/op"
)

// headRoom is kept free before the ops of a batch for what goes in front of them once their number is known.
const headRoom = 1 + 1 + 2 + maxClient + 2*10

// batch is what callers of this node asked for while the batch before was under way. Each caller waits for
// done, which is closed once for all of them: nobody is woken through a lock of his own.
type batch struct {
	body []byte // headRoom, then the ops, each with its length
	ops  int
	done chan struct{} // closed when results or err is set
	void chan struct{} // closed when no caller waits any more

	results []op.Result
	err     error

	// Guarded by the queue's lock.
	sent    bool   // it may be applied from now on, whatever is answered
	left    int    // callers who stopped waiting
	leftOut []bool // ops whose callers left before it was sent; nil if none did
}

// finish lets the callers go on. results has one for each op that was sent.
func (b *batch) finish(results []op.Result, err error) {
	b.results, b.err = results, err
	if err == nil && b.leftOut != nil {
		b.results = make([]op.Result, b.ops)
		for i, j := 0, 0; i < b.ops; i++ {
			if !b.leftOut[i] {
				b.results[i] = results[j]
				j++
			}
		}
	}
	close(b.done)
}

// answered says that the results are there, at whatever moment the question comes.
func (b *batch) answered() bool {
	select {
	case <-b.done:
		return b.err == nil
	default:
		return false
	}
}

// frame is a chunk that came from another node and is appended as it is.
type frame struct {
	chunk  []byte
	count  int
	answer chan answer // has room for one
}

// queue gathers ops while a batch is under way.
type queue struct {
	wake     chan struct{} // has room for one: there is something to take
	maxOps   int
	maxBytes int

	mu     sync.Mutex
	cur    *batch
	hint   int           // bytes of the batch before: what the next may need
	room   chan struct{} // closed when cur is taken; nil unless somebody waits for that
	frames []*frame
	closed error
}

func newQueue(maxOps, maxBytes int) *queue {
	return &queue{wake: make(chan struct{}, 1), maxOps: maxOps, maxBytes: maxBytes}
}

func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// join adds an op to the batch that gathers and says which place it has in it.
func (q *queue) join(ctx context.Context, o []byte) (*batch, int, error) {
	for {
		b, i, room, err := q.tryJoin(o)
		if b != nil || err != nil {
			return b, i, err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

func (q *queue) tryJoin(o []byte) (*batch, int, <-chan struct{}, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return nil, 0, nil, q.closed
	}
	b := q.cur
	if b == nil {
		b = &batch{done: make(chan struct{}), void: make(chan struct{})}
		b.body = make([]byte, headRoom, headRoom+max(q.hint, len(o)+4))
		q.cur = b
		q.poke()
	} else if b.ops >= q.maxOps || len(b.body)-headRoom+len(o) > q.maxBytes {
		if q.room == nil {
			q.room = make(chan struct{})
		}
		return nil, 0, q.room, nil
	}
	b.body = op.Bytes(b.body, o)
	b.ops++
	return b, b.ops - 1, nil, nil
}

// leave is for a caller that waits no longer. It says whether its op may still be applied.
func (q *queue) leave(b *batch, i int) (sent bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !b.sent {
		if b.leftOut == nil {
			b.leftOut = make([]bool, max(q.maxOps, b.ops))
		}
		b.leftOut[i] = true
	}
	// A batch that still gathers is not void: the next caller may join it.
	if b.left++; b.left == b.ops && b != q.cur {
		close(b.void)
	}
	return b.sent
}

// take is the batch that has gathered, or nil.
func (q *queue) take() *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.cur
	if b == nil {
		return nil
	}
	q.cur = nil
	q.hint = min(len(b.body)+len(b.body)/8, q.maxBytes)
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
	if b.left == b.ops {
		close(b.void)
	}
	return b
}

// send marks a batch as sent and returns its ops without those whose callers left before; from now on they
// count as perhaps applied. The ops stand in a buffer after headRoom bytes.
func (q *queue) send(b *batch) (body []byte, count int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b.sent = true
	if b.leftOut == nil {
		return b.body, b.ops
	}
	body = make([]byte, headRoom, len(b.body))
	r := op.Read(b.body[headRoom:])
	for i := range b.ops {
		if o := r.Bytes(); !b.leftOut[i] {
			body = op.Bytes(body, o)
			count++
		}
	}
	return body, count
}

// add queues a chunk of another node.
func (q *queue) add(f *frame) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return q.closed
	}
	q.frames = append(q.frames, f)
	q.poke()
	return nil
}

// takeFrames takes the frames that fit beside own ops and bytes, and at least one if there is any.
func (q *queue) takeFrames(ops, bytes int) []*frame {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(q.frames) {
		ops += q.frames[n].count
		bytes += len(q.frames[n].chunk)
		if n > 0 && (ops > q.maxOps || bytes > q.maxBytes) {
			break
		}
		n++
	}
	taken := q.frames[:n:n]
	if q.frames = q.frames[n:]; len(q.frames) == 0 {
		q.frames = nil
	} else {
		q.poke()
	}
	return taken
}

// refuse answers all frames that wait.
func (q *queue) refuse(a answer) {
	q.mu.Lock()
	frames := q.frames
	q.frames = nil
	q.mu.Unlock()
	for _, f := range frames {
		f.answer <- a
	}
}

// close ends the queue: nobody can join any more, and who waits is told err.
func (q *queue) close(err error) {
	q.mu.Lock()
	q.closed = err
	q.mu.Unlock()
	if b := q.take(); b != nil {
		b.finish(nil, err)
	}
	q.refuse(answer{status: statusUnknown})
}
