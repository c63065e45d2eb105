package api

import (
	"context"
	"fmt"
	"os"
)

func ExampleClient() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	l, err := Listen(dir) // the node does this
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- Serve(ctx, l, &fakeNode{}) }()

	visits, err := NewClient(dir).Cache(ctx, CacheRequest{Verb: "inc", Key: "visits"})
	fmt.Println(*visits.Number, err)
	stop()
	fmt.Println(<-done)
	_, err = NewClient(dir).Status(context.Background())
	fmt.Println(err.(*Error).Kind)
	// Output:
	// 1 <nil>
	// <nil>
	// unreachable
}
