package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
	"unicode/utf8"
)

// grace is how much longer than the node may take the client waits for it: a node that is stopped
// (SIGSTOP), or a machine that swaps, takes questions and does not answer.
const grace = 2 * time.Second

// maxAnswer is the most that is read of an answer.
const maxAnswer = 64 << 20

// Client asks the node whose data directory it was given. Its methods return an *Error, whatever goes wrong.
type Client struct {
	dir  string
	http http.Client
}

// NewClient is a client of the node that keeps its data in dir. Nothing is sent yet.
func NewClient(dir string) *Client {
	c := &Client{dir: dir}
	c.http.Transport = &http.Transport{DialContext: c.dial, DisableKeepAlives: true}
	return c
}

func (c *Client) dial(ctx context.Context, _, _ string) (conn net.Conn, err error) {
	err = inDir(c.dir, func(short string) error {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", short)
		return err
	})
	return conn, err
}

// Status asks for the node's view of itself and the cluster.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.do(ctx, answerWithin, http.MethodGet, "/v1/status", nil, &s)
}

// Cache does one cache operation.
func (c *Client) Cache(ctx context.Context, r CacheRequest) (CacheAnswer, error) {
	var a CacheAnswer
	if !utf8.ValidString(r.Key) || !utf8.ValidString(r.Cache) { // JSON would make another key of it
		return a, &Error{BadRequest, fmt.Sprintf("the key %q is not UTF-8, and JSON carries nothing else", r.Key)}
	}
	return a, c.do(ctx, answerWithin, http.MethodPost, "/v1/cache", r, &a)
}

// Drain hands over what the node leads, or ends that when on is false.
func (c *Client) Drain(ctx context.Context, on bool) error {
	path := "/v1/drain"
	if !on {
		path += "?off=1"
	}
	return c.do(ctx, handOverWithin, http.MethodPost, path, nil, nil)
}

// StepDown hands one legion to the next best node.
func (c *Client) StepDown(ctx context.Context, legion string) error {
	return c.do(ctx, handOverWithin, http.MethodPost, "/v1/legions/"+url.PathEscape(legion)+"/step-down", nil, nil)
}

func (c *Client) do(ctx context.Context, within time.Duration, method, path string, body, into any) error {
	var send io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return &Error{BadRequest, err.Error()}
		}
		send = bytes.NewReader(b)
	}
	limited, cancel := context.WithTimeout(ctx, within+grace)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, method, "http://node"+path, send)
	if err != nil {
		return &Error{BadRequest, err.Error()}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.unreachable(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		e := &Error{}
		if err := json.Unmarshal(answer, e); err != nil || e.Text == "" || e.Kind == "" {
			return &Error{Failed, "the node answered " + resp.Status}
		}
		return e
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return &Error{Failed, fmt.Sprintf("the node's answer cannot be read: %v", err)}
	}
	return nil
}

// unreachable says why there is no answer, and what to do about it.
func (c *Client) unreachable(ctx context.Context, err error) error {
	var dial *net.OpError
	text := fmt.Sprintf("the node in %s went away before it answered: %v", c.dir, err)
	switch {
	case ctx.Err() != nil:
		text = fmt.Sprintf("no longer waiting for the node in %s: %v", c.dir, ctx.Err())
	case errors.Is(err, fs.ErrPermission):
		text = fmt.Sprintf("only the node's own user and root may ask the node in %s", c.dir)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		text = fmt.Sprintf("no node runs with its data in %s: start it, or name another directory with --data", c.dir)
	case errors.As(err, &dial) && dial.Op == "dial":
		text = fmt.Sprintf("the node in %s cannot be asked: %v", c.dir, err)
	case errors.Is(err, context.DeadlineExceeded):
		text = fmt.Sprintf("the node in %s took the question and gave no answer: is it stopped, or its machine overloaded?", c.dir)
	}
	return &Error{Unreachable, text}
}
