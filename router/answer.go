package router

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"time"
)

// answer is the answer under construction. Its head stays open until the first byte of the body, so rules,
// handlers and error rules can still change it.
type answer struct {
	w       http.ResponseWriter
	status  int // 0 until somebody chose one
	phrase  string
	size    int64      // bytes of the body so far
	dropped []string   // delheader:
	added   []variable // addheader:, sent after all others
	bare    bool       // disableheaders:

	sent      bool // the head is on its way
	silent    bool // what is written from now on is dropped: rules answered in its place, or it is over
	erring    bool // error rules are running
	responded bool // response rules ran, or are running
}

// phraser is a ResponseWriter of HTTP/1, where the text behind the status can be chosen.
type phraser interface{ SetPhrase(phrase string) }

func (a *answer) begin(w http.ResponseWriter) { a.w = w }

// room is an empty answer that keeps what a took from the heap.
func (a *answer) room() answer {
	clear(a.dropped)
	clear(a.added)
	return answer{dropped: a.dropped[:0], added: a.added[:0]}
}

// Error is why a rule could not be carried out, with the status that says so to a client.
type Error struct {
	Status     int
	RetryAfter time.Duration // 0 says nothing
	Err        error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Fail ends the request where uWSGI would close the connection without a byte: with the status of an Error,
// else 500. The client sees the status; the log sees the cause.
func (r *Request) Fail(err error) Verdict {
	r.router.failed(r, err)
	status, wait := http.StatusInternalServerError, time.Duration(0)
	var e *Error
	if errors.As(err, &e) {
		status, wait = e.Status, e.RetryAfter
	}
	if r.sent {
		return Break
	}
	r.Head(status, "")
	if wait > 0 {
		seconds := int64((wait + time.Second - 1) / time.Second)
		r.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	r.plain(Phrase(status))
	return Break
}

// Status is the status of the answer; before anything chose one it is 500, as in uWSGI.
func (r *Request) Status() int {
	if r.status == 0 {
		return http.StatusInternalServerError
	}
	return r.status
}

// Size is the number of bytes in the body so far.
func (r *Request) Size() int64 { return r.size }

// Sent says that the head is out and can no longer be changed.
func (r *Request) Sent() bool { return r.sent }

// Header is the head as far as it was set by name. What addheader: queued is not in it.
func (r *Request) Header() http.Header {
	if r.silent {
		return http.Header{} // rules answered instead; what the handler sets now goes nowhere
	}
	return r.w.Header()
}

// Head begins a fresh head, dropping what was set by name, and runs the error rules. With no phrase it takes
// uWSGI's.
func (r *Request) Head(status int, phrase string) {
	if r.sent || r.silent {
		return
	}
	clear(r.w.Header())
	r.choose(status, phrase)
}

// WriteHeader makes Request an http.ResponseWriter: it sends what the handler has put into Header.
func (r *Request) WriteHeader(status int) {
	switch {
	case r.sent || r.silent:
	case status < http.StatusOK:
		r.w.WriteHeader(status) // 103 Early Hints: the answer is still to come
	default:
		r.choose(status, "")
		r.send()
	}
}

func (r *Request) choose(status int, phrase string) {
	if phrase == "" {
		phrase = Phrase(status)
	}
	r.status, r.phrase = status, phrase
	if r.erring {
		return
	}
	r.erring = true
	verdict := r.router.errors.run(r)
	r.erring = false
	r.silent = r.silent || verdict == Break
}

// Write adds to the body; the first byte sends the head.
func (r *Request) Write(p []byte) (int, error) {
	if r.silent {
		return len(p), nil
	}
	r.send()
	if r.silent {
		return len(p), nil
	}
	n, err := r.w.Write(p)
	r.size += int64(n)
	return n, err
}

// WriteString is Write without a copy of the text.
func (r *Request) WriteString(text string) (int, error) {
	if r.silent {
		return len(text), nil
	}
	r.send()
	if r.silent {
		return len(text), nil
	}
	n, err := io.WriteString(r.w, text)
	r.size += int64(n)
	return n, err
}

// Flush sends what was written so far.
func (r *Request) Flush() {
	if r.silent {
		return
	}
	r.send()
	http.NewResponseController(r.w).Flush() // a writer that cannot flush sends it at the end
}

// send runs the response rules and gives the head away. It does so once.
func (r *Request) send() {
	if !r.responded {
		r.responded = true
		verdict := r.router.response.run(r)
		defer func() { r.silent = r.silent || verdict == Break }()
	}
	if r.sent {
		return
	}
	r.sent = true
	if r.status == 0 {
		r.status, r.phrase = http.StatusOK, Phrase(http.StatusOK)
	}
	head := r.w.Header()
	if r.bare {
		clear(head)
	}
	for _, name := range r.dropped {
		head.Del(name)
	}
	if !r.bare {
		for _, f := range r.added {
			head.Add(f.name, f.value)
		}
	}
	if _, ok := head["Content-Type"]; !ok {
		head["Content-Type"] = nil // or net/http guesses one
	}
	if p, ok := r.w.(phraser); ok && r.phrase != http.StatusText(r.status) {
		p.SetPhrase(r.phrase)
	}
	r.w.WriteHeader(r.status)
}

// addHeader queues one line for the end of the head.
func (r *Request) addHeader(name, value string) {
	r.added = append(r.added, variable{textproto.CanonicalMIMEHeaderKey(name), value})
}

// Head lines that are the same for many answers are not made anew for each.
var (
	textPlain = []string{"text/plain"}
	closing   = []string{"close"}
)

// plain finishes an answer whose head is begun: text as the whole body.
func (r *Request) plain(text string) {
	if r.silent {
		return
	}
	head := r.Header()
	head["Content-Type"] = textPlain
	if r.status == http.StatusNoContent || r.status == http.StatusNotModified {
		r.send()
		return
	}
	head.Set("Content-Length", strconv.Itoa(len(text)))
	r.WriteString(text) // the client is gone; there is nobody to tell
}

// NotFound is what answers when no handler does: 404, and the connection ends, as uWSGI's plugin notfound.
func NotFound(r *Request) {
	if r.sent {
		return // a rule has begun to answer
	}
	r.Head(http.StatusNotFound, "")
	head := r.Header()
	head["Content-Type"] = textPlain
	head["Connection"] = closing
	r.WriteString(Phrase(http.StatusNotFound)) // the client is gone; there is nobody to tell
}

// finish ends the answer: a head without a body goes out now. A request that rules ended without any answer
// is refused; uWSGI closes the connection.
func (r *Request) finish() {
	if r.status == 0 && !r.sent {
		r.Head(http.StatusForbidden, "")
		r.plain(Phrase(http.StatusForbidden))
	}
	r.send()
	r.silent = true // the final rules come too late to write
}

// panicked is what a handler's panic becomes.
func panicked(p any) error { return fmt.Errorf("panic: %v", p) }
