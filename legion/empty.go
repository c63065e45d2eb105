package legion

import (
	"sync"
	"time"

	"github.com/cohortd/cohort/clock"
)

// emptyWard is the ward of a legion that runs nothing: it is down as soon as it is told to end.
type emptyWard struct {
	once sync.Once
	gone chan struct{}
}

func newEmptyWard() *emptyWard { return &emptyWard{gone: make(chan struct{})} }

func (w *emptyWard) end() { w.once.Do(func() { close(w.gone) }) }

func (w *emptyWard) Extend(clock.Reading)   {}
func (w *emptyWard) Stop(time.Duration)     { w.end() }
func (w *emptyWard) Abort()                 { w.end() }
func (w *emptyWard) Kill()                  { w.end() }
func (w *emptyWard) Ended() <-chan struct{} { return w.gone }
func (w *emptyWard) Down() <-chan struct{}  { return w.gone }
func (w *emptyWard) Outcome() Outcome       { return Outcome{Undone: true} }
