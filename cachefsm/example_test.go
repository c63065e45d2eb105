package cachefsm_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cohortd/cohort/cachefsm"
	"github.com/cohortd/cohort/cachefsm/cache"
)

func ExampleOpen() {
	g, err := cachefsm.Open(cachefsm.Options{Name: "cache", ID: "n1", Table: cache.New(), Timeout: 50 * time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = g.Run(ctx, func() {}) })
	defer running.Wait()
	defer cancel()

	_ = g.Bootstrap([]string{"n1"})
	_, _ = g.Do(ctx, cache.Define(cache.Spec{Name: "hits", Items: 1000}))
	for range 3 {
		r, err := g.Do(ctx, cache.Math("hits", "192.0.2.7", cache.Inc, 1, 30*time.Second))
		fmt.Println(r.Num, err)
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
	// 3 <nil>
}

func ExampleNextChange() {
	members := []cachefsm.Server{
		{ID: "a", Name: "web1", Voter: true, Alive: true},
		{ID: "b", Name: "web2", Voter: true, Alive: true},
		{ID: "c", Name: "web3", Voter: true},                 // its disk was wiped ...
		{ID: "d", Name: "web3", Alive: true, CaughtUp: true}, // ... and it came back
	}
	c, _ := cachefsm.NextChange("a", members, nil, 24*time.Hour)
	fmt.Println(c.Kind, c.ID+":", c.Why)
	// Output: remove c: node web3 came back as d
}
