package daemons

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// plainFrame is the first byte of the one request that the cluster port takes outside TLS: a guardian has no identity.
//
//	'T' | length 2, big endian | ticket          answer: length 2 | text
const (
	plainFrame  = 'T'
	ticketEvery = 100 * time.Millisecond
	ticketWait  = 3 * time.Second // for one answer; a voter may wait for its log that long
)

// spreadTicket gives the ticket to all voters, again and again until one of them says that it is applied or ctx ends.
// Given once only, it would be lost in an election.
func spreadTicket(ctx context.Context, voters []string, ticket []byte) (applied bool) {
	ctx, done := context.WithCancel(ctx)
	defer done()
	answers := make(chan struct{}, len(voters))
	var wg sync.WaitGroup
	for _, addr := range voters {
		wg.Go(func() {
			for ctx.Err() == nil {
				if answer, err := sendTicket(ctx, addr, ticket); err == nil && isApplied(answer) {
					answers <- struct{}{}
					done()
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(ticketEvery):
				}
			}
		})
	}
	wg.Wait()
	return len(answers) > 0
}

// isApplied says whether an answer ends the matter: "applied", or its first letter.
func isApplied(answer string) bool {
	return answer == "A" || strings.EqualFold(answer, "applied")
}

// sendTicket gives the ticket to one voter.
func sendTicket(ctx context.Context, addr string, ticket []byte) (answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, ticketWait)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	frame := append([]byte{plainFrame}, binary.BigEndian.AppendUint16(nil, uint16(len(ticket)))...)
	if _, err := conn.Write(append(frame, ticket...)); err != nil {
		return "", fmt.Errorf("send ticket: %w", errors.Join(err, ctx.Err()))
	}
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return "", fmt.Errorf("answer to ticket: %w", errors.Join(err, ctx.Err()))
	}
	text := make([]byte, binary.BigEndian.Uint16(head[:]))
	if _, err := io.ReadFull(conn, text); err != nil {
		return "", fmt.Errorf("answer to ticket: %w", errors.Join(err, ctx.Err()))
	}
	return string(text), nil
}
