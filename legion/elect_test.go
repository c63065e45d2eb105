package legion

import "testing"

func TestElect(t *testing.T) {
	m := func(id string, valor int64, change ...func(*Member)) Member {
		x := Member{ID: id, Boot: 1, Valor: valor, Vote: "c", Alive: true, Fresh: true}
		for _, f := range change {
			f(&x)
		}
		return x
	}
	vote := func(v string) func(*Member) { return func(m *Member) { m.Vote = v } }
	drain := func(m *Member) { m.Draining = true }
	step := func(m *Member) { m.Stepped = true }
	stale := func(m *Member) { m.Fresh = false }
	gone := func(m *Member) { m.Alive = false }
	suspended := func(m *Member) { m.Suspended = true }
	for name, tt := range map[string]struct {
		members []Member
		bars    bars
		best    string
		votes   int
	}{
		"nobody":                           {nil, bars{}, "", 0},
		"greatest valor":                   {[]Member{m("a", 10), m("b", 20), m("c", 30)}, bars{}, "c", 3},
		"equal valor: greater uuid":        {[]Member{m("a", 30), m("c", 30), m("b", 30)}, bars{}, "c", 3},
		"arbiter votes and never rules":    {[]Member{m("b", 5, vote("b")), m("z", 0, vote("b"))}, bars{}, "b", 2},
		"only arbiters":                    {[]Member{m("a", 0), m("b", 0)}, bars{}, "", 0},
		"who disagrees costs a vote":       {[]Member{m("a", 10), m("b", 20, vote("b")), m("c", 30)}, bars{}, "c", 2},
		"own vote is this one":             {[]Member{m("a", 10, vote("x")), m("c", 30)}, bars{}, "c", 2},
		"draining is not eligible":         {[]Member{m("b", 20, vote("b")), m("c", 30, drain, vote("b"))}, bars{}, "b", 2},
		"suspended is not eligible":        {[]Member{m("b", 20), m("c", 30, suspended)}, bars{}, "b", 0},
		"suspended in the table":           {[]Member{m("b", 20), m("c", 30)}, bars{suspended: map[string]bool{"c": true}}, "b", 0},
		"R26 dead boot":                    {[]Member{m("b", 20), m("c", 30)}, bars{dead: map[string]uint64{"c": 1}}, "b", 0},
		"R26 dead boot before this":        {[]Member{m("b", 20), m("c", 30)}, bars{dead: map[string]uint64{"c": 7}}, "c", 2},
		"R26 missed offer":                 {[]Member{m("b", 20), m("c", 30)}, bars{missed: map[string]bool{"c": true}}, "b", 0},
		"stale: neither rules nor votes":   {[]Member{m("a", 1), m("b", 2), m("c", 3, stale)}, bars{}, "b", 1},
		"gone: neither rules nor votes":    {[]Member{m("a", 1), m("b", 2), m("c", 3, gone)}, bars{}, "b", 1},
		"stepped down comes last":          {[]Member{m("a", 10), m("b", 20), m("c", 30, step)}, bars{}, "b", 1},
		"stepped down but nobody else":     {[]Member{m("z", 0), m("c", 30, step)}, bars{}, "c", 2},
		"all stepped down: greatest first": {[]Member{m("b", 20, step), m("c", 30, step)}, bars{}, "c", 2},
	} {
		t.Run(name, func(t *testing.T) {
			self := "a"
			if _, ok := find(tt.members, "a"); !ok {
				self = ""
			}
			best, votes := elect(tt.members, self, tt.bars)
			if best != tt.best || votes != tt.votes {
				t.Errorf("elect = %q with %d votes, want %q with %d", best, votes, tt.best, tt.votes)
			}
		})
	}
}
