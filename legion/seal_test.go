package legion

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/cohortd/cohort/clock"
)

var sample = announcement{
	valor: 98, flags: flagLord, vote: rawID{15: 9}, epoch: 1<<40 | 77, left: 3499 * time.Millisecond,
	view: [8]byte{1, 2, 3}, scrolls: 1, scrollLen: 5, digest: digest("hello"), scroll: []byte("hello"),
}

func id(t testing.TB, text string) rawID {
	t.Helper()
	raw, err := parseID(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// The bytes on the wire, for fixed keys: nodes of different versions talk to each other.
func TestSealedBytes(t *testing.T) {
	keys := newLegionKeys("a secret of the legion", "blue")
	s := newSealer(keys, id(t, nodeA), 3<<32|0xdeadbeef)
	var got []string
	for range 2 {
		b, err := s.seal(sample.encode())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, hex.EncodeToString(b))
	}
	want := []string{
		"02a0ea7ca4e9196419aaaaaaaa00004000800000000000000100000003deadbeef000000000001e2330acc982018728a464a3ed1c60f1edbf6687f3709a60a77c2d627ae69fe179147d213bb3a46908591d8b1f42b0626a140f76a1b4abe772091c7229d4010f8e6498e4fb0a6301acb869e51d5dc6482b486c08c4ab0",
		"02a0ea7ca4e9196419aaaaaaaa00004000800000000000000100000003deadbeef000000000002b7e2346c3fb8ff62f68d6214c79bf32751fe0d4365c84ff69f4676d61166f4bdc1b08074d6300e71d3de0c90472a6869b96db1e1ebb66bf458b1ccf5575c04773404160bd77c271688f0e72e1b81324ab053a0637018",
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("announcement %d:\n got %s\nwant %s", i+1, got[i], want[i])
		}
	}
	ticket := Ticket{Legion: "blue", Node: nodeA, Boot: 3<<32 | 0xdeadbeef, Epoch: 77, Random: [32]byte{1, 2, 3}}
	b, err := ticket.Seal([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(b), "0104626c75652461616161616161612d303030302d343030302d383030302d30303030303030303030303100000003deadbeef000000000000004d01020300000000000000000000000000000000000000000000000000000000001f44af1e89f265ec5b6b08cbbeb8f0b73762bb0ac247f0f9e67cadb247e0baa8"; got != want {
		t.Errorf("ticket:\n got %s\nwant %s", got, want)
	}
}

func TestOpener(t *testing.T) {
	blue, red, next := newLegionKeys("one", "blue"), newLegionKeys("one", "red"), newLegionKeys("two", "blue")
	a := id(t, nodeA)
	type step struct {
		msg  []byte
		want refusal
	}
	seal := func(k legionKeys, boot uint64, seq uint64) []byte {
		s := newSealer(k, a, boot)
		s.seq = seq - 1
		b, err := s.seal(sample.encode())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	flip := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[i] ^= 1
		return b
	}
	good := seal(blue, 1<<32, 1)
	for name, tt := range map[string]struct {
		secrets []legionKeys
		steps   []step
	}{
		"in order":           {[]legionKeys{blue}, []step{{good, taken}, {seal(blue, 1<<32, 2), taken}}},
		"twice":              {[]legionKeys{blue}, []step{{good, taken}, {good, oldNews}}},
		"backwards":          {[]legionKeys{blue}, []step{{seal(blue, 1<<32, 9), taken}, {good, oldNews}}},
		"a later boot":       {[]legionKeys{blue}, []step{{seal(blue, 1<<32, 9), taken}, {seal(blue, 2<<32, 1), taken}}},
		"an earlier boot":    {[]legionKeys{blue}, []step{{seal(blue, 2<<32, 1), taken}, {seal(blue, 1<<32, 9), oldBoot}}},
		"same counter again": {[]legionKeys{blue}, []step{{seal(blue, 2<<32, 1), taken}, {seal(blue, 2<<32|5, 9), oldBoot}}},
		"another legion":     {[]legionKeys{blue}, []step{{seal(red, 1<<32, 1), foreign}}},
		"another secret":     {[]legionKeys{blue}, []step{{seal(next, 1<<32, 1), foreign}}},
		"both secrets":       {[]legionKeys{next, blue}, []step{{good, taken}, {seal(next, 1<<32, 2), taken}, {good, oldNews}}},
		"flipped text":       {[]legionKeys{blue}, []step{{flip(good, 60), badSeal}}},
		"flipped boot":       {[]legionKeys{blue}, []step{{flip(good, 26), badSeal}}},
		"flipped sequence":   {[]legionKeys{blue}, []step{{good, taken}, {flip(good, 38), badSeal}}},
		"flipped node":       {[]legionKeys{blue}, []step{{flip(good, 12), badSeal}}},
		"flipped MAC":        {[]legionKeys{blue}, []step{{flip(good, len(good)-1), badSeal}}},
		"cut off":            {[]legionKeys{blue}, []step{{good[:20], malformed}, {nil, malformed}}},
		"longer":             {[]legionKeys{blue}, []step{{append(bytes.Clone(good), 0), badSeal}}},
		"too long":           {[]legionKeys{blue}, []step{{append(bytes.Clone(good), make([]byte, maxSealed)...), malformed}}},
		"uWSGI's version":    {[]legionKeys{blue}, []step{{flip(good, 0), malformed}}},
		"a refused one leaves no trace": {
			[]legionKeys{blue},
			[]step{{flip(seal(blue, 5<<32, 9), 60), badSeal}, {good, taken}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOpener(tt.secrets...)
			for i, step := range tt.steps {
				got, why := o.open(step.msg)
				if why != step.want {
					t.Fatalf("message %d: refusal %d, want %d", i+1, why, step.want)
				}
				if why == taken && !bytes.Equal(got.clear, sample.encode()) {
					t.Errorf("message %d opened to %x", i+1, got.clear)
				}
			}
		})
	}
}

func TestEqualAnnouncementsLookDifferent(t *testing.T) {
	k := newLegionKeys("one", "blue")
	s := newSealer(k, id(t, nodeA), 1<<32)
	one, _ := s.seal(sample.encode())
	two, _ := s.seal(sample.encode())
	if bytes.Equal(one[headerSize:headerSize+8], two[headerSize:headerSize+8]) {
		t.Error("two announcements have the same first block")
	}
	other, _ := newSealer(k, id(t, nodeA), 2<<32).seal(sample.encode())
	if bytes.Equal(one[headerSize:headerSize+8], other[headerSize:headerSize+8]) {
		t.Error("two boots have the same first block")
	}
}

func TestSequenceDoesNotWrap(t *testing.T) {
	s := newSealer(newLegionKeys("one", "blue"), id(t, nodeA), 1<<32)
	s.seq = maxSequence
	if _, err := s.seal(nil); err == nil {
		t.Error("sealed with a sequence that was used")
	}
}

func TestAnnouncementsOfLaterVersions(t *testing.T) {
	got, ok := decodeAnnouncement(append(sample.encode(), "what comes later"...))
	if !ok || got.valor != sample.valor || string(got.scroll) != "hello" {
		t.Errorf("decoded %+v, %v", got, ok)
	}
}

func TestLongScrollIsNotInline(t *testing.T) {
	long := strings.Repeat("x", inlineScroll+1)
	a := announcement{scrollLen: uint32(len(long)), digest: digest(long), scroll: []byte(long)}
	if n := len(a.encode()); n != announceSize {
		t.Errorf("%d bytes, want %d", n, announceSize)
	}
}

func TestIDs(t *testing.T) {
	if got := id(t, nodeB).String(); got != nodeB {
		t.Errorf("%s became %s", nodeB, got)
	}
	for _, bad := range []string{"", "a", strings.ToUpper(nodeA), strings.ReplaceAll(nodeA, "-", "_"), nodeA + "0", nodeA[:35] + "g"} {
		if _, err := parseID(bad); err == nil {
			t.Errorf("parseID(%q) took it", bad)
		}
	}
}

func TestTickets(t *testing.T) {
	key, other := []byte("one key"), []byte("another key")
	k := NewTicket("blue", nodeA, 1<<32, 7)
	sealed, err := k.Seal(key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenTicket(sealed, other, key); err != nil || got != k {
		t.Errorf("OpenTicket = %+v, %v; want %+v", got, err, k)
	}
	if _, err := OpenTicket(sealed, other); err == nil {
		t.Error("opened with another key")
	}
	for i := range sealed {
		b := bytes.Clone(sealed)
		b[i] ^= 0x40
		if _, err := OpenTicket(b, key); err == nil {
			t.Fatalf("opened with byte %d changed", i)
		}
	}
	long := NewTicket(strings.Repeat("x", 255), nodeA, 1, 1)
	sealed, _ = long.Seal(key)
	if got, err := OpenTicket(sealed, key); err != nil || got != long {
		t.Errorf("OpenTicket of the longest name: %v", err)
	}
	if _, err := NewTicket(strings.Repeat("x", 256), nodeA, 1, 1).Seal(key); err == nil {
		t.Error("sealed a ticket with a name that is too long")
	}
	if again := NewTicket("blue", nodeA, 1<<32, 7); again == k {
		t.Error("two tickets are equal")
	}
}

func FuzzOpener(f *testing.F) {
	k := newLegionKeys("one", "blue")
	good, _ := newSealer(k, id(f, nodeA), 1<<32).seal(sample.encode())
	f.Add(good, true)
	f.Add(sample.encode(), false)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if !sealed { // the clear text alone, which a member with the secret chooses
			if a, ok := decodeAnnouncement(b); ok {
				if again, ok := decodeAnnouncement(a.encode()); !ok || string(again.scroll) != string(a.scroll) || again.epoch != a.epoch {
					t.Fatalf("%+v became %+v", a, again)
				}
			}
			return
		}
		r := newRoll(rawID{}, k)
		if _, news := r.merge(b, clock.Reading{}); news && !bytes.Equal(b, good) {
			t.Fatal("took a message that nobody sealed")
		}
	})
}

func FuzzOpenTicket(f *testing.F) {
	key := []byte("one key")
	good, _ := Ticket{Legion: "blue", Node: nodeA, Boot: 1, Epoch: 2}.Seal(key)
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := OpenTicket(b, key); err == nil && !bytes.Equal(b, good) {
			t.Fatal("took a ticket that nobody sealed")
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	k := newLegionKeys("one", "blue")
	s := newSealer(k, id(b, nodeA), 1<<32)
	o := newOpener(k)
	for b.Loop() {
		msg, _ := s.seal(sample.encode())
		if _, why := o.open(msg); why != taken {
			b.Fatal(why)
		}
	}
}
