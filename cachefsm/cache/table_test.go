package cache

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cohortd/cohort/cachefsm/op"
)

// start is a time of the table as a running cluster has it.
const start = 1_700_000_000 * time.Second

func newTable(specs ...Spec) *Table {
	t := New()
	t.Advance(start)
	for _, s := range specs {
		t.Apply(1, start, Define(s))
	}
	return t
}

func small(name string) Spec { return Spec{Name: name, Items: 3, BlockSize: 8, KeySize: 4} }

func TestOps(t *testing.T) {
	v := []byte("value")
	for name, tt := range map[string]struct {
		before [][]byte
		op     []byte
		want   op.Result
	}{
		"set adds":                        {nil, Set("c", "k", v, 0), op.Result{}},
		"set never overwrites":            {[][]byte{Set("c", "k", v, 0)}, Set("c", "k", v, 0), op.Result{Code: op.Exists}},
		"set of an empty value":           {nil, Set("c", "k", nil, 0), op.Result{Code: op.TooBig}},
		"set of a value over blocksize":   {nil, Set("c", "k", []byte("123456789"), 0), op.Result{Code: op.TooBig}},
		"set of an empty key":             {nil, Set("c", "", v, 0), op.Result{Code: op.TooLong}},
		"set of a key over keysize":       {nil, Set("c", "12345", v, 0), op.Result{Code: op.TooLong}},
		"set in an unknown cache":         {nil, Set("x", "k", v, 0), op.Result{Code: op.NoCache}},
		"set in a full cache":             {three(), Set("c", "k", v, 0), op.Result{Code: op.Full}},
		"update overwrites":               {[][]byte{Set("c", "k", v, 0)}, Update("c", "k", v, 0), op.Result{}},
		"update in a full cache":          {three(), Update("c", "b", v, 0), op.Result{}},
		"update adds":                     {nil, Update("c", "k", v, 0), op.Result{}},
		"del":                             {[][]byte{Set("c", "k", v, 0)}, Del("c", "k"), op.Result{}},
		"del of nothing":                  {nil, Del("c", "k"), op.Result{Code: op.NotFound}},
		"del twice":                       {[][]byte{Set("c", "k", v, 0), Del("c", "k")}, Del("c", "k"), op.Result{Code: op.NotFound}},
		"clear counts":                    {three(), Clear("c"), op.Result{Num: 3}},
		"clear of an unknown cache":       {nil, Clear("x"), op.Result{Code: op.NoCache}},
		"num":                             {nil, Num("c", "k", -9, 0), op.Result{IsNum: true, Num: -9}},
		"num over bytes":                  {[][]byte{Set("c", "k", v, 0)}, Num("c", "k", 4, 0), op.Result{IsNum: true, Num: 4}},
		"num in a full cache":             {three(), Num("c", "k", 1, 0), op.Result{Code: op.Full}},
		"inc of nothing starts at 0":      {nil, Math("c", "k", Inc, 5, 0), num(5)},
		"dec of nothing starts at 0":      {nil, Math("c", "k", Dec, 1, 0), num(-1)},
		"mul of nothing is 0":             {nil, Math("c", "k", Mul, 7, 0), num(0)},
		"div of nothing is 0":             {nil, Math("c", "k", Div, 7, 0), num(0)},
		"div of nothing by 0 is 0":        {nil, Math("c", "k", Div, 0, 0), num(0)},
		"inc":                             {[][]byte{Num("c", "k", 40, 0)}, Math("c", "k", Inc, 2, 0), num(42)},
		"inc wraps":                       {[][]byte{Num("c", "k", math.MaxInt64, 0)}, Math("c", "k", Inc, 1, 0), num(math.MinInt64)},
		"dec wraps":                       {[][]byte{Num("c", "k", math.MinInt64, 0)}, Math("c", "k", Dec, 1, 0), num(math.MaxInt64)},
		"mul wraps":                       {[][]byte{Num("c", "k", 1<<62, 0)}, Math("c", "k", Mul, 4, 0), num(0)},
		"div truncates towards 0":         {[][]byte{Num("c", "k", -7, 0)}, Math("c", "k", Div, 2, 0), num(-3)},
		"div by 0 stores 0":               {[][]byte{Num("c", "k", 7, 0)}, Math("c", "k", Div, 0, 0), num(0)},
		"div of the smallest by -1":       {[][]byte{Num("c", "k", math.MinInt64, 0)}, Math("c", "k", Div, -1, 0), num(math.MinInt64)},
		"mul of the smallest by -1":       {[][]byte{Num("c", "k", math.MinInt64, 0)}, Math("c", "k", Mul, -1, 0), num(math.MinInt64)},
		"math on bytes":                   {[][]byte{Set("c", "k", []byte("12345678"), 0)}, Math("c", "k", Inc, 1, 0), op.Result{Code: op.NotNumber}},
		"math in a full cache":            {three(), Math("c", "k", Inc, 1, 0), op.Result{Code: op.Full}},
		"math on a number of a full one":  {append(three(), Del("c", "a"), Num("c", "n", 1, 0)), Math("c", "n", Inc, 1, 0), num(2)},
		"math with an unknown kind":       {nil, Math("c", "k", 9, 1, 0), op.Result{Code: op.Invalid}},
		"a get is not for the log":        {nil, Get("c", "k"), op.Result{Code: op.Invalid}},
		"an unknown op":                   {nil, []byte{99, 1, 'c', 1, 'k', 0}, op.Result{Code: op.Invalid}},
		"nothing at all":                  {nil, nil, op.Result{Code: op.Invalid}},
		"more than the op":                {nil, append(Del("c", "k"), 1), op.Result{Code: op.Invalid}},
		"define again keeps the items":    {append(three(), Define(Spec{Name: "c", Items: 4, BlockSize: 8, KeySize: 4})), Set("c", "d", v, 0), op.Result{}},
		"define smaller refuses new ones": {append(three(), Define(Spec{Name: "c", Items: 1})), Set("c", "d", v, 0), op.Result{Code: op.Full}},
		"define without a name":           {nil, Define(Spec{Items: 4}), op.Result{Code: op.Invalid}},
	} {
		t.Run(name, func(t *testing.T) {
			table := newTable(small("c"))
			for _, o := range tt.before {
				if r := table.Apply(2, start, o); r.Code != op.OK {
					t.Fatalf("Apply(%q) before = %+v", o, r)
				}
			}
			if got := table.Apply(3, start, tt.op); !cmp.Equal(got, tt.want) {
				t.Errorf("Apply(%q) = %+v, want %+v", tt.op, got, tt.want)
			}
		})
	}
}

func num(n int64) op.Result { return op.Result{IsNum: true, Num: n} }

func three() [][]byte {
	return [][]byte{Set("c", "a", []byte("1"), 0), Set("c", "b", []byte("2"), 0), Set("c", "c", []byte("3"), 0)}
}

func TestGet(t *testing.T) {
	table := newTable(small("c"), small("b"))
	table.Apply(1, start, Set("c", "k", []byte("value"), 30*time.Second))
	table.Apply(1, start, Num("c", "n", math.MinInt64, 0))
	for name, tt := range map[string]struct {
		op   []byte
		want op.Result
	}{
		"bytes":            {Get("c", "k"), op.Result{Bytes: []byte("value"), Left: 30 * time.Second}},
		"a number":         {Get("c", "n"), op.Result{IsNum: true, Num: math.MinInt64, Bytes: []byte("-9223372036854775808")}},
		"nothing":          {Get("c", "x"), op.Result{Code: op.NotFound}},
		"a key too long":   {Get("c", strings.Repeat("x", 99)), op.Result{Code: op.NotFound}},
		"an unknown cache": {Get("x", "k"), op.Result{Code: op.NoCache}},
		"exists":           {Exists("c", "k"), op.Result{}},
		"exists not":       {Exists("b", "k"), op.Result{Code: op.NotFound}},
		"a change":         {Del("c", "k"), op.Result{Code: op.Invalid}},
		"nonsense":         {[]byte{kindGet, 200}, op.Result{Code: op.Invalid}},
	} {
		if got := table.Read(tt.op); !cmp.Equal(got, tt.want) {
			t.Errorf("%s: Read(%q) = %+v, want %+v", name, tt.op, got, tt.want)
		}
	}
	got, ok := ParseList(table.Read(List()).Bytes)
	want := []Info{{small("b"), 0}, {small("c"), 2}}
	if !ok || !cmp.Equal(got, want) {
		t.Errorf("List = %+v, want %+v", got, want)
	}
}

func TestExpiry(t *testing.T) {
	v := []byte("v")
	for name, tt := range map[string]struct {
		ops  [][]byte
		ends time.Duration // after start; 0 is never
	}{
		"never":                             {[][]byte{Set("c", "k", v, 0)}, 0},
		"seconds":                           {[][]byte{Set("c", "k", v, 30*time.Second)}, 30 * time.Second},
		"less than a tick is a tick":        {[][]byte{Set("c", "k", v, time.Millisecond)}, 100 * time.Millisecond},
		"a long life ends on a full second": {[][]byte{Set("c", "k", v, 60_100*time.Millisecond)}, 61 * time.Second},
		"math counts from the creation": {
			[][]byte{Math("c", "k", Inc, 1, 5*time.Second), Math("c", "k", Inc, 1, time.Hour)}, 5 * time.Second,
		},
		"math never gives an end":  {[][]byte{Math("c", "k", Inc, 1, 0), Math("c", "k", Inc, 1, time.Second)}, 0},
		"update starts anew":       {[][]byte{Set("c", "k", v, 5*time.Second), Update("c", "k", v, 9*time.Second)}, 9 * time.Second},
		"update may take it away":  {[][]byte{Set("c", "k", v, 5*time.Second), Update("c", "k", v, 0)}, 0},
		"num starts anew":          {[][]byte{Set("c", "k", v, 0), Num("c", "k", 1, 2*time.Second)}, 2 * time.Second},
		"a refused set leaves it":  {[][]byte{Set("c", "k", v, 5*time.Second), Set("c", "k", v, time.Hour)}, 5 * time.Second},
		"deleted and made anew":    {[][]byte{Set("c", "k", v, 5*time.Second), Del("c", "k"), Set("c", "k", v, 7*time.Second)}, 7 * time.Second},
		"a negative life is never": {[][]byte{Set("c", "k", v, -time.Second)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			table := newTable(small("c"))
			for _, o := range tt.ops {
				table.Apply(1, start, o)
			}
			if tt.ends == 0 {
				table.Advance(start + 50*365*24*time.Hour)
				if r := table.Read(Exists("c", "k")); r.Code != op.OK || table.Timed() {
					t.Errorf("after 50 years: %v, timed %v; want it there and untimed", r.Code, table.Timed())
				}
				return
			}
			table.Advance(start + tt.ends - 1)
			if r := table.Read(Get("c", "k")); r.Code != op.OK || r.Left != 1 || !table.Timed() {
				t.Errorf("a moment before its end: %v, left %v, timed %v", r.Code, r.Left, table.Timed())
			}
			table.Advance(start + tt.ends)
			if r := table.Read(Exists("c", "k")); r.Code != op.NotFound {
				t.Errorf("at its end: %v", r.Code)
			}
			table.Advance(start + tt.ends)
			if table.Timed() {
				t.Error("timed although nothing is left")
			}
		})
	}
}

func TestEndedItemsTakeNoPlace(t *testing.T) {
	const n = 3*reapPerEntry + 10
	table := newTable(Spec{Name: "c", Items: n})
	for i := range n {
		table.Apply(1, start, Num("c", fmt.Sprint(i), 1, time.Second))
	}
	if r := table.Apply(1, start, Num("c", "one more", 1, 0)); r.Code != op.Full {
		t.Fatalf("Num in a full cache = %v", r.Code)
	}
	table.Advance(start + time.Second)
	k := table.keeps["c"]
	if k.live != 0 || k.index.len() != n-reapPerEntry {
		t.Fatalf("after their end: %d live, %d in memory; want 0 and all but the %d of one entry", k.live, k.index.len(), reapPerEntry)
	}
	for i := n - 1; i >= 0; i-- { // the last ones made are reaped last
		if r := table.Apply(1, start, Math("c", fmt.Sprint(i), Inc, 2, 0)); r.Num != 2 {
			t.Fatalf("Math of ended item %d = %+v, want it to start at 0", i, r)
		}
	}
	for table.Timed() {
		table.Advance(start + time.Second)
	}
	if k.live != n || k.index.len() != n || len(k.wheel.buckets) != 0 {
		t.Errorf("at last: %d live, %d in memory, %d buckets; want %d, %d, 0", k.live, k.index.len(), len(k.wheel.buckets), n, n)
	}
}

// A cache in which items are made and deleted all the time must not remember their ends.
func TestBucketsDoNotPile(t *testing.T) {
	table := newTable(Spec{Name: "c", Items: 10})
	for i := range 100_000 {
		at := start + time.Duration(i)*time.Second
		table.Advance(at)
		table.Apply(1, at, Set("c", "k", []byte("v"), 24*365*time.Hour))
		table.Apply(1, at, Del("c", "k"))
	}
	if k := table.keeps["c"]; len(k.wheel.buckets) != 0 || len(k.wheel.waiting) != 0 || len(k.slab.pages) > 1 {
		t.Errorf("%d buckets, %d waiting, %d pages; want none, none, one", len(k.wheel.buckets), len(k.wheel.waiting), len(k.slab.pages))
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	table := newTable(small("c"))
	table.Apply(1, start, Set("c", "k", []byte("v"), time.Second))
	table.Advance(start + time.Minute)
	table.Advance(start)
	if r := table.Read(Exists("c", "k")); r.Code != op.NotFound {
		t.Errorf("an item came back with the time: %v", r.Code)
	}
	table.Advance(math.MaxInt64)
	if r := table.Apply(1, 0, Set("c", "k", []byte("v"), time.Second)); r.Code != op.OK {
		t.Errorf("Set at the end of time = %v", r.Code)
	}
	table.Apply(1, 0, Del("c", "k"))
}

func TestSpec(t *testing.T) {
	for name, tt := range map[string]struct {
		spec Spec
		want string
	}{
		"good":         {Spec{Name: "c", Items: 1}, ""},
		"no name":      {Spec{Items: 1}, "name"},
		"no items":     {Spec{Name: "c"}, "items=0"},
		"large values": {Spec{Name: "c", Items: 1, BlockSize: 2 << 20}, "blocksize=2097152"},
		"large keys":   {Spec{Name: "c", Items: 1, KeySize: 64 << 10}, "keysize=65536"},
	} {
		err := tt.spec.Check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Check = %v, want an error with %q", name, err, tt.want)
		}
	}
	if got := (Spec{Name: "c"}).clamped(); got.Items != 1 || got.BlockSize != DefaultBlockSize || got.KeySize != DefaultKeySize {
		t.Errorf("clamped = %+v", got)
	}
}

func TestNewIsEmptyAfterRestoreFails(t *testing.T) {
	table := newTable(small("c"))
	var b bytes.Buffer
	if err := table.Snapshot()(&b); err != nil {
		t.Fatal(err)
	}
	for i := range b.Len() {
		other := newTable(small("other"))
		if err := other.Restore(bytes.NewReader(b.Bytes()[:i])); err == nil {
			t.Fatalf("Restore of the first %d of %d bytes succeeded", i, b.Len())
		}
		if infos, _ := ParseList(other.Read(List()).Bytes); len(infos) != 1 || infos[0].Spec.Name != "other" {
			t.Fatalf("a failed Restore changed the table: %+v", infos)
		}
	}
}

func ExampleTable() {
	t := New()
	at := 1000 * time.Second
	t.Advance(at)
	t.Apply(1, at, Define(Spec{Name: "hits", Items: 1000}))
	t.Apply(2, at, Math("hits", "192.0.2.7", Inc, 1, 30*time.Second))
	fmt.Println(t.Apply(3, at, Math("hits", "192.0.2.7", Inc, 1, 30*time.Second)).Num)

	t.Advance(at + 30*time.Second)
	fmt.Println(t.Read(Get("hits", "192.0.2.7")).Code)
	// Output:
	// 2
	// not found
}
