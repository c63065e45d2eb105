package op

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func chunkOf(client string, first uint64, ops ...[]byte) []byte {
	b := ChunkHead(nil, client, first, len(ops))
	for _, o := range ops {
		b = Bytes(b, o)
	}
	return b
}

func TestEntry(t *testing.T) {
	one := chunkOf("node-a", 7, []byte("x"), nil, []byte("zz"))
	two := chunkOf("", 1, []byte("id"))
	b := Bytes(Bytes(EntryHead(nil, 5*time.Second), one), two)

	e, ok := ParseEntry(b)
	if !ok || e.Stamp != 5*time.Second {
		t.Fatalf("ParseEntry = %v, %v; want a stamp of 5s", e.Stamp, ok)
	}
	var got []string
	for raw, ok := e.Next(); ok; raw, ok = e.Next() {
		c, ok := ParseChunk(raw)
		if !ok {
			t.Fatalf("ParseChunk(%q) failed", raw)
		}
		for i := range c.Count {
			o, ok := c.Next()
			got = append(got, fmt.Sprintf("%s/%d=%s %v", c.Client, c.First+uint64(i), o, ok))
		}
	}
	want := []string{"node-a/7=x true", "node-a/8= true", "node-a/9=zz true", "/1=id true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ops of the entry (-want +got):\n%s", diff)
	}
}

func TestBadChunks(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty":                     nil,
		"other version":             {9, 0, 1, 0},
		"cut in the client":         {Version, 200, 'a'},
		"more ops than bytes":       ChunkHead(nil, "a", 1, 1000),
		"sequence numbers overflow": Bytes(ChunkHead(nil, "a", math.MaxUint64, 1), "o"),
		"too long":                  make([]byte, MaxChunk+1),
	} {
		if c, ok := ParseChunk(b); ok {
			t.Errorf("%s: ParseChunk(%.20q) = %+v, want refused", name, b, c)
		}
	}
}

func TestResults(t *testing.T) {
	rs := []Result{
		{},
		{Code: Full},
		{IsNum: true, Num: math.MinInt64, Bytes: []byte("-9223372036854775808"), Left: time.Minute},
		{Bytes: bytes.Repeat([]byte("v"), 300)},
		{IsNum: true},
	}
	b, n := AppendResults(nil, rs, math.MaxInt)
	got, ok := ParseResults(nil, b, n)
	if !ok || n != len(rs) {
		t.Fatalf("ParseResults of %d results: ok = %v", n, ok)
	}
	if diff := cmp.Diff(rs, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if _, n = AppendResults(nil, rs, 100); n != 3 {
		t.Errorf("AppendResults with a limit of 100 bytes took %d results, want the 3 before the long one", n)
	}
	if _, n = AppendResults(nil, rs[3:], 10); n != 1 {
		t.Errorf("AppendResults with a small limit took %d results, want one at least", n)
	}
	if _, ok = ParseResults(nil, b, len(rs)-1); ok {
		t.Error("ParseResults took more results than were asked for")
	}
	if r := Read([]byte{0, 0x10}); r.Result().Code != OK || r.OK() {
		t.Error("a result with an unknown flag was read")
	}
}

func TestCodeNames(t *testing.T) {
	for c := OK; c <= Stale; c++ {
		if c.String() == "unknown code" {
			t.Errorf("code %d has no name", c)
		}
	}
}

func TestStream(t *testing.T) {
	long := bytes.Repeat([]byte("long"), 200<<10)
	b := Varint(Uvarint([]byte{3}, 1<<40), -5)
	b = Bytes(Bytes(b, "key"), long)
	for name, r := range map[string]io.Reader{"at once": bytes.NewReader(b), "byte by byte": iotest.OneByteReader(bytes.NewReader(b))} {
		s := NewStream(r)
		one, u, v, key, l := s.Byte(), s.Uvarint(), s.Varint(), s.String(10), s.Copy(1<<20)
		if s.Err() != nil || one != 3 || u != 1<<40 || v != -5 || key != "key" || !bytes.Equal(l, long) {
			t.Errorf("%s: read %d %d %d %q and %d bytes, err %v", name, one, u, v, key, len(l), s.Err())
		}
		if s.Byte(); s.Err() == nil {
			t.Errorf("%s: read beyond the end", name)
		}
	}
	if s := NewStream(bytes.NewReader(Bytes(nil, "toolong"))); s.Bytes(3) != nil || s.Err() == nil {
		t.Error("Bytes(3) took a length of 7")
	}
	if s := NewStream(bytes.NewReader(Uvarint(nil, 1<<30))); s.Bytes(1<<31) != nil || s.Err() == nil {
		t.Error("Bytes believed a length that the source does not have")
	}
	if s := NewStream(iotest.ErrReader(io.ErrClosedPipe)); s.Byte() != 0 || s.Err() == nil {
		t.Error("a failed source read as zero")
	}
}

func FuzzEntry(f *testing.F) {
	f.Add(Bytes(EntryHead(nil, time.Second), chunkOf("c", 1, []byte("op"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := ParseEntry(b)
		if !ok {
			return
		}
		again := EntryHead(nil, e.Stamp)
		for c, ok := e.Next(); ok; c, ok = e.Next() {
			again = Bytes(again, c)
		}
		if e2, ok := ParseEntry(again); !ok || e2.Stamp != e.Stamp {
			t.Errorf("entry %x written again is %x, which does not parse alike", b, again)
		}
	})
}

func FuzzChunk(f *testing.F) {
	f.Add(chunkOf("client", 99, []byte("one"), []byte("two")))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok := ParseChunk(b)
		if !ok {
			return
		}
		if c.Count > len(b) {
			t.Fatalf("ParseChunk(%x) claims %d ops in %d bytes", b, c.Count, len(b))
		}
		var ops [][]byte
		for o, ok := c.Next(); ok; o, ok = c.Next() {
			ops = append(ops, o)
		}
		again, ok := ParseChunk(chunkOf(string(c.Client), c.First, ops...))
		if !ok && len(ops) > 0 && c.First < math.MaxUint64-uint64(len(ops)) && len(b) < MaxChunk/2 {
			t.Errorf("chunk %x does not survive being written again: %+v", b, again)
		}
	})
}

func FuzzResults(f *testing.F) {
	b, _ := AppendResults(nil, []Result{{Num: 3, IsNum: true}, {Bytes: []byte("v"), Left: 9}}, math.MaxInt)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		rs, ok := ParseResults(nil, b, 1000)
		if !ok {
			return
		}
		again, _ := AppendResults(nil, rs, math.MaxInt)
		rs2, ok := ParseResults(nil, again, 1000)
		if !ok || len(rs) != len(rs2) {
			t.Errorf("results %x written again: %x, ok = %v", b, again, ok)
		}
	})
}

// Ops as in a limiter: a 20-byte key and three numbers, 64 of them to a chunk.
func benchOp(b []byte, i int) []byte {
	b = Bytes(append(b, 6), "limits")
	b = Bytes(b, "client-192.168.100.7")
	return Varint(append(Uvarint(b, 30000), 0), int64(i))
}

func BenchmarkEncode(b *testing.B) {
	b.ReportAllocs()
	buf, scratch := make([]byte, 0, 64<<10), make([]byte, 0, 64)
	for i := 0; i < b.N; i += 64 {
		buf = ChunkHead(buf[:0], "0123456789abcdef", 1, 64)
		for j := range 64 {
			scratch = benchOp(scratch[:0], j)
			buf = Bytes(buf, scratch)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	var ops [][]byte
	for i := range 64 {
		ops = append(ops, benchOp(nil, i))
	}
	e := Bytes(EntryHead(nil, time.Second), chunkOf("0123456789abcdef", 1, ops...))
	var sum int64
	for i := 0; i < b.N; i += 64 {
		entry, _ := ParseEntry(e)
		raw, _ := entry.Next()
		c, _ := ParseChunk(raw)
		for o, ok := c.Next(); ok; o, ok = c.Next() {
			r := Read(o)
			r.Byte()
			sum += int64(len(r.Bytes()) + len(r.Bytes()))
			sum += int64(r.Uvarint()) + int64(r.Byte()) + r.Varint()
		}
	}
	if sum == 0 {
		b.Fatal("nothing was read")
	}
}

func ExampleParseEntry() {
	chunk := Bytes(ChunkHead(nil, "n1", 41, 1), "increment")
	entry := Bytes(EntryHead(nil, time.Minute), chunk)

	e, _ := ParseEntry(entry)
	raw, _ := e.Next()
	c, _ := ParseChunk(raw)
	o, _ := c.Next()
	fmt.Printf("%v: %s sent %d: %s\n", e.Stamp, c.Client, c.First, o)
	// Output: 1m0s: n1 sent 41: increment
}
