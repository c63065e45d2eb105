package cachefsm

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cohortd/cohort/cachefsm/op"
)

const (
	minPause   = 5 * time.Millisecond // before the same is tried again
	maxPause   = 200 * time.Millisecond
	maxRetry   = 30 * time.Minute // well below sessionIdle: a later retry would not be known again
	answerSize = 1 << 20          // about the most bytes of an answer to reads
)

// lane carries one kind of ops to the leader, one batch at a time: there is one for writes and one for
// fresh reads. Its goroutine is the only one that sends; what comes meanwhile gathers in the queue.
type lane struct {
	g    *Group
	q    *queue
	kind uint8 // of frames between nodes

	client string // in front of sequence numbers; reads need neither
	number func(n int) uint64
	// lead does the work on the leader: own, which may be nil, and frames of other nodes.
	lead func(ctx context.Context, v *view, own []byte, frames []*frame) ([]op.Result, error)
	// due says how long until lead must be called although there is nothing to do: 0 is never, less is now.
	due  func() time.Duration
	held atomic.Bool // leadership is being handed over: nothing new is begun

	sent    *batch // under way
	chunk   []byte // of sent, once packed: a flag byte, then the chunk
	count   int    // ops in chunk
	got     []op.Result
	since   time.Time // when it was packed
	hint    string    // who leads, as said by who does not
	pause   time.Duration
	ops     atomic.Uint64 // by callers of this node
	batches atomic.Uint64
	forward atomic.Uint64 // batches sent to another node
	retries atomic.Uint64
}

// do runs one op of a caller of this node.
func (l *lane) do(ctx context.Context, o []byte) (op.Result, error) {
	if len(o) > op.MaxOp {
		return op.Result{Code: op.TooBig}, nil
	}
	b, i, err := l.q.join(ctx, o)
	if err != nil {
		return op.Result{}, l.g.gaveUp(err, false)
	}
	select {
	case <-b.done:
	case <-ctx.Done():
		sent := l.q.leave(b, i) && l.client != "" // a read leaves nothing behind
		if !b.answered() {
			return op.Result{}, l.g.gaveUp(ctx.Err(), sent)
		}
	}
	if b.err != nil {
		return op.Result{}, b.err
	}
	return b.results[i], nil
}

// gaveUp is the error for a caller whose wait ended with err.
func (g *Group) gaveUp(err error, sent bool) error {
	lost := g.Leader() == ""
	switch {
	case sent && lost:
		return fmt.Errorf("%w (%w): %w", ErrUnknown, ErrNoLeader, err)
	case sent:
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	case lost:
		return fmt.Errorf("%w: %w", ErrNoLeader, err)
	}
	return fmt.Errorf("cachefsm: not answered: %w", err)
}

func (l *lane) run(ctx context.Context) {
	defer l.stop()
	for ctx.Err() == nil {
		v := l.g.view.Load()
		if l.sent == nil {
			// Callers of the batch before have just been woken. Letting them run first brings their next ops
			// into this batch: with 1024 of them it is twice as large, and half as many are synced.
			runtime.Gosched()
			l.sent = l.q.take()
		}
		if l.sent != nil && l.isVoid() {
			l.done(nil, ErrUnknown) // nobody listens
			continue
		}
		if v.leader != l.g.o.ID {
			l.q.refuse(answer{status: statusNotLeader, leader: v.leader})
		}
		switch {
		case v.leading && l.held.Load():
			l.wait(ctx, v, minPause)
		case v.leading:
			l.doLead(ctx, v)
		case l.sent != nil && v.leader != "" && v.leader != l.g.o.ID:
			l.doForward(ctx, v)
		default:
			l.wait(ctx, v, 0)
		}
	}
}

func (l *lane) stop() {
	if l.sent != nil {
		l.done(nil, fmt.Errorf("%w: %w", ErrUnknown, ErrClosed))
	}
	l.q.close(ErrClosed)
}

func (l *lane) isVoid() bool {
	select {
	case <-l.sent.void:
		return true
	default:
		return false
	}
}

// wait returns when there may be something to do: a batch if none is under way, another leader, an end of
// all waiting for the batch, or d, unless it is 0.
func (l *lane) wait(ctx context.Context, v *view, d time.Duration) {
	wake, void := l.q.wake, (chan struct{})(nil)
	if l.sent != nil {
		void = l.sent.void
		if d > 0 {
			wake = nil // what has come since waits behind this batch
		}
	}
	var timer <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-wake:
	case <-v.changed:
	case <-void:
	case <-timer:
	case <-ctx.Done():
	}
}

// pack makes the chunk of the batch under way, once: a retry must carry the same numbers.
func (l *lane) pack() {
	if l.chunk != nil {
		return
	}
	var body []byte
	body, l.count = l.q.send(l.sent)
	l.since = time.Now()
	l.chunk = withHead(body, l.client, l.number(l.count), l.count)
	l.batches.Add(1)
	l.ops.Add(uint64(l.count))
}

// withHead puts the flag byte and the head of a chunk right before the ops in body.
func withHead(body []byte, client string, first uint64, count int) []byte {
	head := op.ChunkHead(make([]byte, 1, headRoom), client, first, count)
	b := body[headRoom-len(head):]
	copy(b, head)
	return b
}

// done ends the batch under way.
func (l *lane) done(results []op.Result, err error) {
	l.sent.finish(results, err)
	l.sent, l.chunk, l.count, l.got, l.pause, l.hint = nil, nil, 0, nil, 0, ""
}

// again waits before the batch under way is tried once more. It ends a batch that was tried for too long.
func (l *lane) again(ctx context.Context, v *view) {
	l.retries.Add(1)
	if l.chunk != nil && time.Since(l.since) > maxRetry {
		l.done(nil, ErrUnknown)
		return
	}
	l.pause = min(max(2*l.pause, minPause), maxPause)
	l.wait(ctx, v, l.pause)
}

func (l *lane) doLead(ctx context.Context, v *view) {
	var own []byte
	if l.sent != nil {
		if l.pack(); l.count == 0 {
			l.done(nil, ErrUnknown)
			return
		}
		own = l.chunk[1:]
	}
	frames := l.q.takeFrames(l.count, len(own))
	if own == nil && len(frames) == 0 {
		if d := l.due(); d >= 0 {
			l.wait(ctx, v, d)
			return
		}
	}
	results, err := l.lead(ctx, v, own, frames)
	switch {
	case err != nil:
		l.g.log.Debug("batch not answered", "err", err)
		l.again(ctx, v)
	case l.sent != nil && len(results) != l.count:
		l.done(nil, fmt.Errorf("%w: %d results for %d ops", ErrUnknown, len(results), l.count))
	case l.sent != nil:
		l.answered(results)
	}
}

// doForward sends the batch under way to the leader.
func (l *lane) doForward(ctx context.Context, v *view) {
	if l.pack(); l.count == 0 {
		l.done(nil, ErrUnknown)
		return
	}
	to := v.leader
	if l.hint != "" && l.hint != l.g.o.ID {
		to = l.hint
	}
	l.hint = ""
	l.forward.Add(1)
	attempt, cancel := context.WithTimeout(ctx, 4*l.g.o.Timeout)
	stop := cancelOn(attempt, cancel, v.changed, l.sent.void)
	b, err := l.g.o.Links.Call(attempt, to, l.kind, l.chunk)
	stop()
	var a answer
	if err == nil {
		a, err = parseAnswer(b, l.count)
	}
	if err != nil {
		l.g.log.Debug("batch not forwarded", "to", to, "err", err)
		l.again(ctx, v)
		return
	}
	switch a.status {
	case statusOK:
		l.answered(a.results)
	case statusNotLeader:
		l.hint = a.leader
		l.again(ctx, v)
	default:
		l.again(ctx, v)
	}
}

// answered takes the results of the first ops of the chunk. If some are missing the rest is asked again.
func (l *lane) answered(results []op.Result) {
	if l.got = append(l.got, results...); len(results) == l.count {
		l.done(l.got, nil)
		return
	}
	c, _ := op.ParseChunk(l.chunk[1:])
	body := make([]byte, headRoom, headRoom+len(l.chunk))
	for i := 0; i < l.count; i++ {
		if o, ok := c.Next(); ok && i >= len(results) {
			body = op.Bytes(body, o)
		}
	}
	l.count -= len(results)
	l.chunk = withHead(body, l.client, c.First+uint64(len(results)), l.count)
	l.pause = 0
}

// cancelOn calls cancel when one of the channels is closed. The returned function ends that and waits.
func cancelOn(ctx context.Context, cancel context.CancelFunc, a, b <-chan struct{}) func() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-a:
		case <-b:
		case <-ctx.Done():
		}
		cancel()
	}()
	return func() {
		cancel()
		<-ended
	}
}

// handle answers a chunk that another node forwards. One with the relay flag came from a node that cannot
// reach the leader itself: it is passed on, once.
func (l *lane) handle(ctx context.Context, payload []byte) ([]byte, error) {
	if len(payload) == 0 || payload[0] > flagRelay {
		return []byte{statusBad}, nil
	}
	c, ok := op.ParseChunk(payload[1:])
	if !ok || len(c.Client) > maxClient {
		return []byte{statusBad}, nil
	}
	v := l.g.view.Load()
	if v.leader != l.g.o.ID {
		if payload[0] == flagRelay && v.leader != "" {
			passed := slices.Clone(payload)
			passed[0] = 0
			return l.g.o.Links.Call(ctx, v.leader, l.kind, passed)
		}
		return answer{status: statusNotLeader, leader: v.leader}.encode(0), nil
	}
	f := &frame{chunk: slices.Clone(payload[1:]), count: c.Count, answer: make(chan answer, 1)}
	if err := l.q.add(f); err != nil {
		return answer{status: statusNotLeader}.encode(0), nil
	}
	select {
	case a := <-f.answer:
		return a.encode(op.MaxChunk), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// flagRelay asks who is not the leader to pass the chunk on to it.
const flagRelay = 1
