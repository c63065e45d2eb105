package gateway

import (
	"errors"
	"fmt"
	"time"
)

// Config is what the ini says of the gateway. Times and sizes of zero mean the default.
type Config struct {
	Listen        []Listen
	HeaderTimeout time.Duration // from the first byte of a request to the end of its head; default 10 s
	IdleTimeout   time.Duration // how long a connection may wait for its next request; default 60 s
	StopGrace     time.Duration // how long running requests may take once the gateway stops; default 10 s
	MaxHeader     int           // most bytes of a request's head, above it 431; default 64 KiB
	LimitPost     int64         // most bytes of a request's body, above it 413; 0 is no limit
	AllowControl  bool          // let requests pass whose path has control bytes in it, such as %00 and %0a
}

// Listen is one address that speaks HTTP.
type Listen struct {
	Addr  string // ip:port, :port, or a path of a unix socket
	Where string // file:line, for messages
}

// Check reports every mistake in c.
func (c Config) Check() error {
	var mistakes []error
	for name, value := range map[string]int64{
		"http header timeout": int64(c.HeaderTimeout), "http idle timeout": int64(c.IdleTimeout), "http stop grace": int64(c.StopGrace),
		"http header size": int64(c.MaxHeader), "limit-post": c.LimitPost,
	} {
		if value < 0 {
			mistakes = append(mistakes, fmt.Errorf("%s: %d is below zero", name, value))
		}
	}
	places := map[string]string{}
	for _, l := range c.Listen {
		if err := l.check(); err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", l.Where, err))
		}
		if first, ok := places[l.Addr]; ok {
			mistakes = append(mistakes, fmt.Errorf("%s: %s is in use since %s", l.Where, l.Addr, first))
		}
		places[l.Addr] = l.Where
	}
	return errors.Join(mistakes...)
}

func (c Config) withDefaults() Config {
	c.HeaderTimeout = orElse(c.HeaderTimeout, 10*time.Second)
	c.IdleTimeout = orElse(c.IdleTimeout, 60*time.Second)
	c.StopGrace = orElse(c.StopGrace, 10*time.Second)
	c.MaxHeader = orElse(c.MaxHeader, 64<<10)
	return c
}

func orElse[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
