package cluster_test

import (
	"context"
	"fmt"

	"github.com/cohortd/cohort/cluster"
)

// A node of its own on loopback, which asks itself.
func Example() {
	cfg := cluster.Config{Name: "example", Node: "n1", Bind: "127.0.0.1:0"}
	if err := cfg.Check(); err != nil {
		fmt.Println(err)
		return
	}
	keys, err := cluster.DeriveKeys(cfg.Secret, cfg.OldSecret, cfg.Name)
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := cluster.Open(cfg, cluster.NewIdentity("", 1), keys, cluster.Meta{}, nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	const greet = 1
	c.Handle(greet, func(_ context.Context, from string, payload []byte) ([]byte, error) {
		return append([]byte("hello "), payload...), nil
	})

	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error)
	go func() { ended <- c.Run(ctx, func() { close(ready) }) }()
	<-ready
	answer, err := c.Call(ctx, c.Self().ID, greet, []byte("world"))
	fmt.Println(string(answer), err)
	stop()
	fmt.Println(<-ended)
	// Output:
	// hello world <nil>
	// <nil>
}
