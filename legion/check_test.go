package legion

import (
	"strings"
	"testing"
	"time"

	"github.com/cohortd/cohort/cachefsm/lord"
)

func TestCheck(t *testing.T) {
	half := Raft{500 * time.Millisecond, 500 * time.Millisecond, 500 * time.Millisecond}
	second := Raft{time.Second, time.Second, time.Second}
	fast := Raft{250 * time.Millisecond, 250 * time.Millisecond, 250 * time.Millisecond}
	base := Config{Name: "blue", Secret: "s", Valor: 5}
	for name, tt := range map[string]struct {
		change func(*Config)
		raft   Raft
		want   []string // each in the text; none: no error
	}{
		"defaults": {func(*Config) {}, half, nil},
		"noisy hosts": {func(c *Config) {
			c.Numbers = lord.Numbers{
				Lease: 10 * time.Second, Renew: time.Second, Retry: 200 * time.Millisecond, Soft: 3 * time.Second, Kill: 1500 * time.Millisecond,
			}
		}, second, nil},
		"defaults with a slow raft": {func(*Config) {}, second, []string{"lease 5s - soft 1.5s must be at least renew 500ms + retry 100ms + raft election 3s + 500ms"}},
		"lease of two seconds": {func(c *Config) {
			c.Numbers = lord.Numbers{
				Lease: 2 * time.Second, Renew: 400 * time.Millisecond, Soft: 600 * time.Millisecond, Kill: 150 * time.Millisecond,
			}
		}, fast, []string{"stall 700ms + reap 200ms must be at most kill 150ms", "lease 2s - soft 600ms", "renew 400ms must be at most a quarter"}},
		"kill too near soft":   {func(c *Config) { c.Numbers.Kill = 1300 * time.Millisecond }, half, []string{"kill 1.3s + 300ms must be at most soft 1.5s"}},
		"stall too long":       {func(c *Config) { c.Numbers.Stall = 900 * time.Millisecond }, half, []string{"stall 900ms + reap 200ms must be at most kill 1s"}},
		"renew too seldom":     {func(c *Config) { c.Numbers.Renew = 900 * time.Millisecond }, half, []string{"renew 900ms must be at most a quarter"}},
		"no time to rule":      {func(c *Config) { c.Numbers.Renew = 4 * time.Second }, half, []string{"lease 5s - renew 4s must be at least soft 1.5s + 500ms"}},
		"retry above renew":    {func(c *Config) { c.Numbers.Retry = time.Second }, half, []string{"retry 1s must be above zero and at most renew 500ms"}},
		"raft's leader lease":  {func(*Config) {}, Raft{500 * time.Millisecond, 500 * time.Millisecond, 250 * time.Millisecond}, []string{"leader lease 250ms must equal its heartbeat timeout 500ms"}},
		"clock that is none":   {func(c *Config) { c.Numbers.Rho = 0.3 }, half, []string{"clock rate error 0.3"}},
		"all fields at once":   {func(c *Config) { c.Name, c.Secret, c.Valor, c.Quorum = "", "", -1, -2 }, half, []string{"name", "secret", "valor -1", "quorum -2"}},
		"scroll too long":      {func(c *Config) { c.Scroll = strings.Repeat("x", maxScroll+1) }, half, []string{"65537 bytes"}},
		"preempt delay":        {func(c *Config) { c.PreemptDelay = -1 }, half, []string{"preempt delay -1ns"}},
		"announcing too often": {func(c *Config) { c.Announce = time.Millisecond }, half, []string{"announcing every 1ms"}},
		"offer too short":      {func(c *Config) { c.Numbers.Offer = time.Millisecond }, half, []string{"offer-timeout 1ms"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := base
			tt.change(&c)
			err := c.Check(tt.raft)
			if len(tt.want) == 0 {
				if err != nil {
					t.Fatalf("Check = %v, want nil", err)
				}
				return
			}
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Check = %v, want it to say %q", err, want)
				}
			}
		})
	}
}
