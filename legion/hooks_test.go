package legion

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestShellHooks(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	if err := runShell(t.Context(), "echo $COHORT_MEMBER >"+out, []string{"COHORT_MEMBER=abc"}); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(out); strings.TrimSpace(string(b)) != "abc" {
		t.Errorf("the hook wrote %q", b)
	}
	if err := runShell(t.Context(), "exit 3", nil); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("failing hook: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := runShell(ctx, "sleep 60 & wait", nil); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("slow hook: %v", err)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("the slow hook and its child took %v to end", d)
	}
}
