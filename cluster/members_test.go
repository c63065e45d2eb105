package cluster

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFold(t *testing.T) {
	id := func(n int) string { return identity(n).ID }
	self := Member{ID: id(1), Boot: 5, Alive: true, Meta: Meta{ClusterID: "blue"}}
	m := func(n int, boot uint64, alive bool, cluster string) Member {
		return Member{ID: id(n), Boot: boot, Alive: alive, Meta: Meta{ClusterID: cluster}}
	}
	for name, tt := range map[string]struct {
		seen, want []Member
	}{
		"nobody":                          {nil, []Member{self}},
		"sorted by id":                    {[]Member{m(3, 1, true, ""), m(2, 1, true, "blue")}, []Member{self, m(2, 1, true, "blue"), m(3, 1, true, "")}},
		"the latest boot":                 {[]Member{m(2, 1, true, ""), m(2, 2, true, "")}, []Member{self, m(2, 2, true, "")}},
		"the living boot":                 {[]Member{m(2, 1, true, ""), m(2, 2, false, "")}, []Member{self, m(2, 1, true, "")}},
		"the latest dead boot":            {[]Member{m(2, 1, false, ""), m(2, 2, false, "")}, []Member{self, m(2, 2, false, "")}},
		"another cluster":                 {[]Member{m(2, 1, true, "red")}, []Member{self}},
		"itself as others see it":         {[]Member{m(1, 9, true, "blue")}, []Member{self}},
		"one that was of another cluster": {[]Member{m(2, 1, true, "blue"), m(2, 2, true, "red")}, []Member{self, m(2, 1, true, "blue")}},
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[string]*sighting{}
			for _, m := range tt.seen {
				seen[bootName(m.ID, m.Boot)] = &sighting{Member: m}
			}
			if got := fold(self, seen); !slices.Equal(got, tt.want) {
				t.Errorf("fold = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestForget(t *testing.T) {
	now := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	seen := map[string]*sighting{}
	add := func(name, id string, boot uint64, alive bool, ago time.Duration) {
		seen[name] = &sighting{Member: Member{ID: id, Boot: boot, Alive: alive}, died: now.Add(-ago)}
	}
	add("alive", "a", 1, true, 0)
	add("dead", "b", 1, false, time.Hour)
	add("dead long ago", "c", 1, false, 50*time.Hour)
	add("restarted", "d", 1, false, time.Hour)
	add("restart", "d", 2, true, 0)
	forget(seen, now)
	var got []string
	for name := range seen {
		got = append(got, name)
	}
	slices.Sort(got)
	if want := []string{"alive", "dead", "restart"}; !slices.Equal(got, want) {
		t.Errorf("forget left %v, want %v", got, want)
	}
	for i := range 2 * mostDead {
		add(fmt.Sprint(i), fmt.Sprint(i), 1, false, time.Duration(i)*time.Second)
	}
	forget(seen, now)
	if _, ok := seen["0"]; !ok || len(seen) != mostDead+2 {
		t.Errorf("forget left %d and the last to die: %v; want %d and true", len(seen), ok, mostDead+2)
	}
}

func TestBootName(t *testing.T) {
	id := newUUID()
	for _, boot := range []uint64{0, 1, 1<<32 | 7, 1<<64 - 1} {
		name := bootName(id, boot)
		if gotID, gotBoot, ok := parseBootName(name); !ok || gotID != id || gotBoot != boot {
			t.Errorf("parseBootName(%q) = %s, %d, %v", name, gotID, gotBoot, ok)
		}
	}
	for _, s := range []string{"", "n1", id, id + "/", id + "/1", id + "/1-0000000", id + "/1-00000000x", id + "/01-00000000", id + "/-1-00000000", strings.ToUpper(id) + "/1-00000000"} {
		if _, _, ok := parseBootName(s); ok {
			t.Errorf("parseBootName(%q) = ok", s)
		}
	}
}

func TestMeta(t *testing.T) {
	full := Meta{
		Client: true, Draining: true, Fresh: true, Protocol: 200, Expect: mostExpected, ClusterID: strings.Repeat("c", longestClusterID),
		HTTP: strings.Repeat("h", longestHTTP), Sees: strings.Repeat("s", longestSees),
	}
	for _, m := range []Meta{{}, {Fresh: true, Expect: 3}, {ClusterID: "blue"}, full} {
		b, err := appendMeta(nil, strings.Repeat("n", longestName), m)
		if err != nil || len(b) > longestMeta {
			t.Fatalf("appendMeta(%+v) = %d bytes, %v", m, len(b), err)
		}
		later := append([]byte{metaVersion + 1}, append(slices.Clone(b[1:]), "more"...)...)
		for _, b := range [][]byte{b, later[:min(len(later), longestMeta)]} {
			if name, got, err := parseMeta(b); err != nil || got != m || len(name) != longestName {
				t.Errorf("parseMeta = %q, %+v, %v; want %+v", name, got, err, m)
			}
		}
		for n := range b {
			if _, _, err := parseMeta(b[:n]); err == nil {
				t.Errorf("parseMeta of the first %d bytes of %d: want an error", n, len(b))
			}
		}
	}
	for _, m := range []Meta{{ClusterID: strings.Repeat("x", 65)}, {HTTP: strings.Repeat("x", longestHTTP+1)}, {Expect: -1}, {Sees: strings.Repeat("x", 65)}} {
		if _, err := appendMeta(nil, "n", m); err == nil {
			t.Errorf("appendMeta(%+v): want an error", m)
		}
	}
}

func FuzzMeta(f *testing.F) {
	b, _ := appendMeta(nil, "n1", Meta{Fresh: true, Expect: 3, ClusterID: "blue", HTTP: "1.2.3.4:80", Sees: "ab"})
	f.Add(b)
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		name, m, err := parseMeta(b)
		if err != nil {
			return
		}
		again, err := appendMeta(nil, name, m)
		if err != nil {
			t.Fatalf("parseMeta(%x) = %q, %+v, which cannot be encoded: %v", b, name, m, err)
		}
		if name2, m2, err := parseMeta(again); err != nil || name2 != name || m2 != m {
			t.Fatalf("parseMeta(%x) = %q, %+v, %v; want %q, %+v", again, name2, m2, err, name, m)
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add(appendState(nil, [][]byte{[]byte("a"), nil, bytes.Repeat([]byte("b"), 300)}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		msgs := parseState(b)
		if again := parseState(appendState(nil, msgs)); !reflect.DeepEqual(again, msgs) {
			t.Fatalf("parseState(%x) = %q, and of that %q", b, msgs, again)
		}
	})
}

func TestStateIsBounded(t *testing.T) {
	big := make([]byte, longestState/2+1)
	if got := parseState(appendState(nil, [][]byte{big, big, big})); len(got) != 1 {
		t.Errorf("%d messages went into one exchange, want 1", len(got))
	}
}
