package cachefsm

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestRaftLogTellsOfTheDiskAndNotOfTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := newRaftLog(slog.New(slog.NewTextHandler(&out, nil)))
		for range 100 {
			l.Error("failed to commit logs", "error", errors.New("no space left"))
			l.Error("failed to heartbeat", "peer", "n2", "error", errors.New("cut"))
			l.Error("failed to decode incoming command", "error", errors.New("closed"))
			l.Warn("heartbeat timeout reached, starting election")
			l.Info("entering follower state")
		}
		if n := strings.Count(out.String(), "\n"); n != 1 {
			t.Errorf("%d lines for a hundred failures alike, want one:\n%s", n, &out)
		}
		if s := out.String(); !strings.Contains(s, "level=WARN") || !strings.Contains(s, `error="no space left"`) {
			t.Errorf("the line is %q", s)
		}
		time.Sleep(sayAgain)
		l.Error("failed to commit logs", "entries", hclog.Fmt("%d of %d", 1, 3))
		if s := out.String(); !strings.Contains(s, `entries="1 of 3"`) {
			t.Errorf("after a while, with a formatted value: %q", s)
		}
	})
}
