package cachefsm

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// raftLog passes on what raft and its stores log. What they call a warning or an error is a warning here,
// the same one once in a while: a cut repeats it many times a second.
type raftLog struct {
	hclog.InterceptLogger
}

func newRaftLog(log *slog.Logger) *raftLog {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Off})
	l.RegisterSink(&sink{log: log, said: map[string]time.Time{}})
	return &raftLog{l}
}

const sayAgain = 30 * time.Second

type sink struct {
	log  *slog.Logger
	mu   sync.Mutex
	said map[string]time.Time
}

// Accept is called by the logger for each line.
func (s *sink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	if level >= hclog.Warn && s.isNews(msg) {
		to = slog.LevelWarn
	}
	if !s.log.Enabled(context.Background(), to) {
		return
	}
	for i, a := range args {
		switch v := a.(type) {
		case hclog.Format:
			args[i] = fmt.Sprintf(v[0].(string), v[1:]...)
		case string, error:
		default:
			args[i] = fmt.Sprint(v) // raft passes values that it goes on changing
		}
	}
	s.log.Log(context.Background(), to, "raft: "+msg, args...)
}

func (s *sink) isNews(msg string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.said[msg]) < sayAgain {
		return false
	}
	if len(s.said) > 256 {
		clear(s.said)
	}
	s.said[msg] = now
	return true
}
