package cache

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

const million = 1_000_000

func key(i int) string { return fmt.Sprintf("client-%016d", i) } // 23 bytes

func millionKeys(life time.Duration) *Table {
	table := newTable(Spec{Name: "limits", Items: 2 * million})
	for i := range million {
		at := start + time.Duration(i)*10*time.Microsecond
		table.Advance(at)
		table.Apply(1, at, Math("limits", key(i), Inc, 1, life))
	}
	return table
}

func BenchmarkApply(b *testing.B) {
	for _, keys := range []int{1000, million} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			table := newTable(Spec{Name: "limits", Items: 2 * million})
			ops := make([][]byte, keys)
			for i := range ops {
				ops[i] = Math("limits", key(i), Inc, 1, time.Hour)
				table.Apply(1, start, ops[i])
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				table.Apply(1, start, ops[rand.IntN(keys)])
			}
		})
	}
}

func BenchmarkApplyNewKeys(b *testing.B) {
	b.ReportAllocs()
	table := newTable(Spec{Name: "limits", Items: MaxItems})
	for i := range b.N {
		at := start + time.Duration(i)*10*time.Microsecond
		if i%500 == 0 {
			table.Advance(at)
		}
		table.Apply(1, at, Math("limits", key(i), Inc, 1, time.Second))
	}
}

// BenchmarkMemory tells the bytes a counter with an end costs.
func BenchmarkMemory(b *testing.B) {
	for range b.N {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		table := millionKeys(time.Hour)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/million, "B/key")
		runtime.KeepAlive(table)
	}
}

// BenchmarkSnapshotStall tells what an entry of 4096 ops on random keys takes right after a snapshot of a
// million keys was taken, when nearly every op must copy a page, and what it takes otherwise. Medians.
func BenchmarkSnapshotStall(b *testing.B) {
	table := millionKeys(time.Hour)
	ops := make([][]byte, million)
	for i := range ops {
		ops[i] = Math("limits", key(i), Inc, 1, time.Hour)
	}
	b.ResetTimer()
	var take, beside, before []time.Duration
	for range b.N {
		entry := func() time.Duration {
			began := time.Now()
			for range 4096 {
				table.Apply(1, start, ops[rand.IntN(million)])
			}
			return time.Since(began)
		}
		before = append(before, entry())
		began := time.Now()
		write := table.Snapshot()
		take = append(take, time.Since(began))
		beside = append(beside, entry())
		if err := write(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
	for name, times := range map[string][]time.Duration{"take": take, "entry-beside": beside, "entry-before": before} {
		slices.Sort(times)
		b.ReportMetric(float64(times[len(times)/2].Microseconds()), "us-"+name)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	table := millionKeys(time.Hour)
	var buf bytes.Buffer
	b.ResetTimer()
	for range b.N {
		buf.Reset()
		if err := table.Snapshot()(&buf); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(buf.Len())/million, "B/key")
}

func BenchmarkRestore(b *testing.B) {
	var buf bytes.Buffer
	if err := millionKeys(time.Hour).Snapshot()(&buf); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := New().Restore(bytes.NewReader(buf.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}
