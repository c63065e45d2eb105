package legion_test

import (
	"fmt"
	"time"

	"github.com/cohortd/cohort/legion"
)

func ExampleConfig_Check() {
	c := legion.Default()
	c.Name, c.Secret, c.Valor = "blue", "a secret", 100
	c.Numbers.Kill = 1400 * time.Millisecond
	half := 500 * time.Millisecond
	fmt.Println(c.Check(legion.Raft{Heartbeat: half, Election: half, LeaderLease: half}))
	// Output: lease: kill 1.4s + 300ms must be at most soft 1.5s: no time to stop before the kill
}
