package cachefsm

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// raftLog passes on what raft and its stores log. What they say of other nodes is their way of trying again,
// and for debugging; the group itself tells who leads. Their other errors, those of the disk above all, are
// warnings here, the same one once in a while.
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
	if level >= hclog.Error && !ofOthers(msg, args) && s.isNews(msg) {
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

// ofOthers says whether an error is about a connection or a node at its other end.
func ofOthers(msg string, args []any) bool {
	for i := 0; i+1 < len(args); i += 2 {
		switch args[i] {
		case "peer", "target", "remote-address", "server-id", "from", "leader":
			return true
		}
	}
	return strings.Contains(msg, "command") || strings.Contains(msg, "connection") || strings.Contains(msg, "response")
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
