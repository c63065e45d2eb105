package memnet

import (
	"sync"
	"time"

	"github.com/cohortd/cohort/clock"
)

// Clock is one machine's clocks inside a bubble, whose kernel clocks stand still: it counts package time,
// faster or slower as told, and can be stopped. It has the method of clock.Clock.
type Clock struct {
	mu        sync.Mutex
	rate      float64
	last      time.Time     // when boot, mono and raw were last brought up to date
	boot      time.Duration // CLOCK_BOOTTIME
	awake     time.Duration // CLOCK_MONOTONIC and CLOCK_MONOTONIC_RAW
	paused    bool
	suspended bool
}

// NewClock makes a clock that now shows offset and runs rate times as fast as the bubble: 1.01 is a clock
// that is one percent fast.
func NewClock(rate float64, offset time.Duration) *Clock {
	return &Clock{rate: rate, last: time.Now(), boot: offset, awake: offset}
}

// Now reads the clocks.
func (c *Clock) Now() clock.Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count()
	return clock.Reading{Boot: c.boot, Mono: c.awake, Raw: c.awake}
}

// SetRate makes the clock run at another speed from now on.
func (c *Clock) SetRate(rate float64) { c.change(func() { c.rate = rate }) }

// Pause stops all clocks, as a virtual machine that is paused and whose guest is not told. Only the clocks
// stop: what the host runs goes on, so the test stops that itself.
func (c *Clock) Pause() { c.change(func() { c.paused = true }) }

// Suspend stops the monotonic clocks while the boot clock counts on, as a laptop with its lid closed.
func (c *Clock) Suspend() { c.change(func() { c.suspended = true }) }

// Resume ends Pause and Suspend.
func (c *Clock) Resume() { c.change(func() { c.paused, c.suspended = false, false }) }

func (c *Clock) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count()
	f()
}

// count brings the clocks up to date. c.mu is held.
func (c *Clock) count() {
	now := time.Now()
	passed := time.Duration(float64(now.Sub(c.last)) * c.rate)
	c.last = now
	if c.paused {
		return
	}
	c.boot += passed
	if !c.suspended {
		c.awake += passed
	}
}
