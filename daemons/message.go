package daemons

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/cohortd/cohort/clock"
)

// A frame on the control channel, numbers big endian:
//
//	length 4 (of what follows) | version 1 | kind 1 | fields
//
// Fields are varints and strings with a varint length, in the order in which message.fields names them.
const (
	wireVersion = 1
	maxFrame    = 1 << 20
	maxDaemons  = 1000 // of one guardian
	frameHead   = 4
)

type kind uint8

const (
	kindCharge  kind = iota + 1 // node to guardian: what to run
	kindExtend                  // a newer renewal was confirmed
	kindStop                    // end to plan
	kindAbort                   // end now
	kindVoters                  // where tickets go
	kindState                   // guardian to node: a daemon changed
	kindLine                    // a line of output
	kindDropped                 // so many lines were not told
	kindNote                    // something for the node's log
	kindEnded                   // it began to end
	kindDown                    // everything is gone
)

// errFrame says that bytes are not a message.
var errFrame = errors.New("daemons: broken message")

// message is one frame; which fields count depends on its kind.
type message struct {
	kind    kind
	order   order         // charge
	epoch   uint64        // extend
	since   clock.Reading // extend
	grace   time.Duration // stop
	voters  []string      // voters
	tag     string        // line, note: which daemon or hook
	stream  string        // line
	text    string        // line, note
	warn    bool          // note
	count   uint64        // dropped
	daemon  int           // state: its place in the charge
	report  report        // state
	reason  reason        // ended
	outcome Outcome       // down
}

// order is a charge as it travels, with what the node has prepared for it.
type order struct {
	charge    Charge
	token     string // the mark of everything this guardian starts
	leaf      string // cgroup directory, empty for none
	stateFile string
	undo      bool // only the unlord hooks, and at once
}

// report is one daemon's state as it travels.
type report struct {
	state    State
	pid      int
	restarts int
	lastExit string
}

// fields walks over the message's fields, to write them or to read them.
func (m *message) fields(c *codec) {
	switch m.kind {
	case kindCharge:
		m.order.fields(c)
	case kindExtend:
		c.uint(&m.epoch)
		c.reading(&m.since)
	case kindStop:
		c.duration(&m.grace)
	case kindAbort:
	case kindVoters:
		c.texts(&m.voters)
	case kindState:
		c.int(&m.daemon)
		state := uint64(m.report.state)
		c.uint(&state)
		m.report.state = State(state)
		c.int(&m.report.pid)
		c.int(&m.report.restarts)
		c.text(&m.report.lastExit)
	case kindLine:
		c.text(&m.tag)
		c.text(&m.stream)
		c.text(&m.text)
	case kindDropped:
		c.uint(&m.count)
	case kindNote:
		c.text(&m.tag)
		c.text(&m.text)
		c.bool(&m.warn)
	case kindEnded:
		why := uint64(m.reason)
		c.uint(&why)
		m.reason = reason(why)
	case kindDown:
		c.bool(&m.outcome.HookFailed)
		c.bool(&m.outcome.Undone)
	default:
		c.fail()
	}
}

func (o *order) fields(c *codec) {
	ch := &o.charge
	c.text(&ch.Legion)
	c.uint(&ch.Epoch)
	c.text(&ch.Node)
	c.uint(&ch.Boot)
	n := c.length(len(ch.Daemons))
	if n > maxDaemons {
		c.fail()
		n = 0
	}
	if c.decode {
		ch.Daemons = make([]Daemon, n)
	}
	for i := range ch.Daemons {
		d := &ch.Daemons[i]
		c.text(&d.Name)
		c.text(&d.Command)
		c.text(&d.Pidfile)
		c.int(&d.Freq)
		signal := int(d.StopSignal)
		c.int(&signal)
		d.StopSignal = syscall.Signal(signal)
		c.duration(&d.StopGrace)
	}
	c.texts(&ch.LordHooks)
	c.texts(&ch.UnlordHooks)
	c.duration(&ch.HookTimeout)
	for _, t := range []*time.Duration{&ch.Timing.Lease, &ch.Timing.Soft, &ch.Timing.Kill, &ch.Timing.Grace, &ch.Timing.StopGrace, &ch.Timing.Wait} {
		c.duration(t)
	}
	c.reading(&ch.Since)
	c.bool(&ch.Forever)
	ticket := string(ch.Ticket)
	c.text(&ticket)
	ch.Ticket = []byte(ticket)
	c.texts(&ch.Voters)
	c.texts(&ch.Env)
	c.text(&o.token)
	c.text(&o.leaf)
	c.text(&o.stateFile)
	c.bool(&o.undo)
}

// codec writes or reads fields; one walk serves both, so the two cannot differ.
type codec struct {
	b      []byte
	decode bool
	err    error
}

func (c *codec) fail() {
	if c.err == nil {
		c.err = errFrame
	}
	c.b = nil
}

func (c *codec) uint(v *uint64) {
	if !c.decode {
		c.b = binary.AppendUvarint(c.b, *v)
		return
	}
	n, size := binary.Uvarint(c.b)
	if size <= 0 {
		c.fail()
		return
	}
	*v, c.b = n, c.b[size:]
}

func (c *codec) signed(v *int64) {
	u := uint64(*v)<<1 ^ uint64(*v>>63)
	c.uint(&u)
	*v = int64(u>>1) ^ -int64(u&1)
}

func (c *codec) int(v *int) {
	n := int64(*v)
	c.signed(&n)
	*v = int(n)
}

func (c *codec) duration(v *time.Duration) {
	n := int64(*v)
	c.signed(&n)
	*v = time.Duration(n)
}

func (c *codec) reading(v *clock.Reading) {
	c.duration(&v.Boot)
	c.duration(&v.Mono)
	c.duration(&v.Raw)
}

func (c *codec) bool(v *bool) {
	var n uint64
	if *v {
		n = 1
	}
	c.uint(&n)
	if n > 1 {
		c.fail()
	}
	*v = n == 1
}

func (c *codec) text(v *string) {
	n := c.length(len(*v))
	if !c.decode {
		c.b = append(c.b, *v...)
		return
	}
	if c.err == nil {
		*v, c.b = string(c.b[:n]), c.b[n:]
	}
}

// length is a count of things of at least one byte each, so a lying one cannot make the reader allocate.
func (c *codec) length(n int) int {
	u := uint64(n)
	c.uint(&u)
	if c.decode && u > uint64(len(c.b)) {
		c.fail()
		return 0
	}
	return int(u)
}

func (c *codec) texts(v *[]string) {
	n := c.length(len(*v))
	if c.decode {
		*v = nil
		if n > 0 {
			*v = make([]string, n)
		}
	}
	for i := range *v {
		c.text(&(*v)[i])
	}
}

// appendFrame appends m to b.
func appendFrame(b []byte, m *message) ([]byte, error) {
	start := len(b)
	c := codec{b: append(b, 0, 0, 0, 0, wireVersion, byte(m.kind))}
	m.fields(&c)
	if c.err != nil {
		return b, c.err
	}
	size := len(c.b) - start - frameHead
	if size > maxFrame {
		return b, fmt.Errorf("daemons: message of %d bytes is too long", size)
	}
	binary.BigEndian.PutUint32(c.b[start:], uint32(size))
	return c.b, nil
}

// parseMessage reads what follows a frame's length.
func parseMessage(b []byte) (message, error) {
	if len(b) < 2 || b[0] != wireVersion {
		return message{}, errFrame
	}
	m := message{kind: kind(b[1])}
	c := codec{b: b[2:], decode: true}
	m.fields(&c)
	if c.err == nil && len(c.b) > 0 {
		c.fail()
	}
	if c.err != nil {
		return message{}, c.err
	}
	return m, nil
}

// frames takes a stream apart.
type frames struct{ buf []byte }

// next is the next whole message; ok is false when more bytes are needed.
func (f *frames) next() (m message, ok bool, err error) {
	if len(f.buf) < frameHead {
		return m, false, nil
	}
	size := binary.BigEndian.Uint32(f.buf)
	if size > maxFrame {
		return m, false, errFrame
	}
	if len(f.buf) < frameHead+int(size) {
		return m, false, nil
	}
	m, err = parseMessage(f.buf[frameHead : frameHead+int(size)])
	f.buf = f.buf[frameHead+int(size):]
	if len(f.buf) == 0 {
		f.buf = nil // lets go of a large charge
	}
	return m, err == nil, err
}
