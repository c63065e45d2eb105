// Command bench measures cohort beside the named peer, in the same run and in turn, and prints ratios.
//
// Absolute figures say more of the machine than of the program. Rounds go A B A B, each ratio is of one
// round, and the median of the rounds is what counts. A peer that cannot be run is reported as missing,
// never as passed; the exit code is 1 when a goal is missed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 5, "rounds of each pair")
	cell := flag.Duration("cell", 2*time.Second, "how long each side is loaded in a round")
	flag.Parse()
	load, _ := os.ReadFile("/proc/loadavg") // only told
	fmt.Printf("load average before: %s", load)
	missed := false
	for _, b := range []struct {
		name string
		run  func(rounds int, cell time.Duration) (ratios []float64, goal float64, err error)
	}{
		{"packed against one op an entry, 1024 callers, bolt", packed},
		{"strict increments, 3 nodes with TLS, against etcd 3.4 with peer TLS, 64 connections, bolt", func(r int, c time.Duration) ([]float64, float64, error) {
			return strict(r, c, 64, false)
		}},
		{"the same on raft-wal", func(r int, c time.Duration) ([]float64, float64, error) { return strict(r, c, 64, true) }},
		{"strict increments against etcd, 1024 connections, bolt (reported)", func(r int, c time.Duration) ([]float64, float64, error) {
			return strict(r, c, 1024, false)
		}},
	} {
		fmt.Printf("\n%s\n", b.name)
		ratios, goal, err := b.run(*rounds, *cell)
		if err != nil {
			fmt.Printf("  MISSING: %v\n", err)
			missed = true
			continue
		}
		slices.Sort(ratios)
		median := ratios[len(ratios)/2]
		verdict := "reported"
		if goal > 0 {
			verdict = "reached"
			if median < goal {
				verdict, missed = "MISSED", true
			}
		}
		fmt.Printf("  ratio: median %.2f (%.2f to %.2f of %d rounds), goal %.1f: %s\n", median, ratios[0], ratios[len(ratios)-1], len(ratios), goal, verdict)
	}
	if missed {
		os.Exit(1)
	}
}

// packed runs the benchmark of package cachefsm, which compares the two over real files and TCP.
func packed(rounds int, _ time.Duration) ([]float64, float64, error) {
	var ratios []float64
	for range rounds {
		cmd := exec.Command("go", "test", "-run", "^$", "-bench", "^BenchmarkPackedOverSingle$", "-benchtime", "3x", "./cachefsm")
		cmd.Dir = "../.."
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, 0, fmt.Errorf("%w: %s", err, out)
		}
		m := regexp.MustCompile(`([\d.]+) packed/single`).FindSubmatch(out)
		if m == nil {
			return nil, 0, fmt.Errorf("no ratio in:\n%s", out)
		}
		ratio, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			return nil, 0, err
		}
		fmt.Printf("  %s\n", regexp.MustCompile(`(?m)^BenchmarkPacked.*$`).Find(out))
		ratios = append(ratios, ratio)
	}
	return ratios, 10, nil
}

// strict loads three cohort nodes and three etcd nodes in turn, from n connections with one operation under
// way on each.
func strict(rounds int, cell time.Duration, n int, wal bool) ([]float64, float64, error) {
	dir, err := os.MkdirTemp("", "cohort-bench-")
	if err != nil {
		return nil, 0, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ours, err := startCohort(ctx, dir, wal)
	if err != nil {
		return nil, 0, err
	}
	defer ours.stop()
	if err := ours.connect(ctx, n); err != nil {
		return nil, 0, err
	}
	peer, err := startEtcd(ctx, dir)
	if err != nil {
		return nil, 0, err
	}
	defer peer.stop()
	if err := peer.connect(ctx, n); err != nil {
		return nil, 0, err
	}
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%04d", i)
	}
	goal := map[string]float64{"64 false": 1.5, "64 true": 1.5}[fmt.Sprintf("%d %t", n, wal)]
	var ratios []float64
	for range rounds {
		a := drive(ctx, cell, n, keys, ours.inc)
		b := drive(ctx, cell, n, keys, peer.put)
		fmt.Printf("  cohort %s | etcd %s\n", a, b)
		if a.failed+b.failed > 0 {
			return nil, 0, fmt.Errorf("operations failed: %d of ours, %d of etcd's", a.failed, b.failed)
		}
		ratios = append(ratios, a.rate/b.rate)
	}
	return ratios, goal, nil
}

// figures are what one cell came to.
type figures struct {
	rate     float64 // operations a second
	p50, p99 time.Duration
	failed   int64
}

func (f figures) String() string {
	return fmt.Sprintf("%.0f/s p50 %.1f ms p99 %.1f ms", f.rate, ms(f.p50), ms(f.p99))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// drive has n callers do one operation after the other for the length of a cell.
func drive(ctx context.Context, cell time.Duration, n int, keys []string, do func(ctx context.Context, caller int, key string) error) figures {
	ctx, cancel := context.WithTimeout(ctx, cell+10*time.Second)
	defer cancel()
	var failed atomic.Int64
	took := make([][]time.Duration, n)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for k := i; time.Since(began) < cell; k++ {
				at := time.Now()
				if err := do(ctx, i, keys[k%len(keys)]); err != nil {
					if failed.Add(1) == 1 {
						fmt.Println("  first failure:", strings.TrimSpace(err.Error()))
					}
					continue
				}
				took[i] = append(took[i], time.Since(at))
			}
		})
	}
	wg.Wait()
	lasted := time.Since(began)
	all := slices.Concat(took...)
	slices.Sort(all)
	if len(all) == 0 {
		return figures{failed: failed.Load()}
	}
	return figures{
		rate: float64(len(all)) / lasted.Seconds(), p50: all[len(all)/2], p99: all[len(all)*99/100], failed: failed.Load(),
	}
}
