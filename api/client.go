package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// Client asks the node whose data directory it was given.
type Client struct {
	dir  string
	http http.Client
}

// NewClient is a client of the node that keeps its data in dir. Nothing is sent yet.
func NewClient(dir string) *Client {
	c := &Client{dir: dir}
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var conn net.Conn
		err := inDir(dir, func(short string) (err error) {
			conn, err = new(net.Dialer).DialContext(ctx, "unix", short)
			return err
		})
		return conn, err
	}}
	return c
}

// Status asks for the node's view of itself and the cluster.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.do(ctx, http.MethodGet, "/v1/status", nil, &s)
}

// Cache does one cache operation.
func (c *Client) Cache(ctx context.Context, r CacheRequest) (CacheAnswer, error) {
	var a CacheAnswer
	return a, c.do(ctx, http.MethodPost, "/v1/cache", r, &a)
}

// Drain hands over what the node leads, or ends that when on is false.
func (c *Client) Drain(ctx context.Context, on bool) error {
	path := "/v1/drain"
	if !on {
		path += "?off=1"
	}
	return c.do(ctx, http.MethodPost, path, nil, nil)
}

// StepDown hands one legion to the next best node.
func (c *Client) StepDown(ctx context.Context, legion string) error {
	return c.do(ctx, http.MethodPost, "/v1/legions/"+url.PathEscape(legion)+"/step-down", nil, nil)
}

func (c *Client) do(ctx context.Context, method, path string, body, into any) error {
	var send io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return &Error{BadRequest, err.Error()}
		}
		send = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://node"+path, send)
	if err != nil {
		return &Error{BadRequest, err.Error()}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return &Error{Unreachable, fmt.Sprintf("no node answers at %s: is it running, and is --data its data directory? (%v)", c.dir, err)}
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		if into == nil {
			return nil
		}
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			return &Error{Failed, fmt.Sprintf("the node's answer cannot be read: %v", err)}
		}
		return nil
	}
	e := &Error{Kind: Failed}
	if err := json.NewDecoder(resp.Body).Decode(e); err != nil || e.Text == "" {
		e.Text = "the node answered " + resp.Status
	}
	return e
}
