package lord

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cohortd/cohort/cachefsm/op"
)

const boot1, boot2 = 1<<32 | 5, 2<<32 | 6

// play applies commands at indexes 1, 2, ... and answers the codes.
func play(t *Table, cmds ...[]byte) (codes []op.Code) {
	for i, cmd := range cmds {
		codes = append(codes, t.Apply(uint64(i+1), 0, cmd).Code)
	}
	return codes
}

func TestGuards(t *testing.T) {
	n := Defaults()
	grant := Grant("blue", "a", boot1, 0, n) // epoch 1
	renew := func(seq uint64) []byte { return Renew("a", boot1, Renewal{"blue", 1, seq}) }
	ok, no := op.OK, op.Refused
	for name, tt := range map[string]struct {
		cmds  [][]byte
		codes []op.Code
		want  func(*State)
	}{
		"R1 a grant is an offer": {
			[][]byte{grant},
			[]op.Code{ok},
			func(s *State) { s.Phase, s.RenewIndex = Offered, 1 },
		},
		"R1 one grant for a vacancy": {
			[][]byte{grant, Grant("blue", "b", boot1, 0, n)},
			[]op.Code{ok, no},
			func(s *State) { s.Phase, s.RenewIndex = Offered, 1 },
		},
		"R1 no grant of an older vacancy": {
			[][]byte{grant, Release("blue", 1, boot1, Planned), Grant("blue", "b", boot1, 0, n)},
			[]op.Code{ok, ok, no},
			func(s *State) { s.RenewIndex, s.VacIndex, s.Reason = 1, 2, Planned },
		},
		"R2 a renewal makes it held": {
			[][]byte{grant, renew(3)},
			[]op.Code{ok, ok},
			func(s *State) { s.Phase, s.RenewIndex, s.RenewSeq = Held, 2, 3 },
		},
		"R2 a late copy changes nothing": {
			[][]byte{grant, renew(3), renew(3), renew(2)},
			[]op.Code{ok, ok, ok, ok},
			func(s *State) { s.Phase, s.RenewIndex, s.RenewSeq = Held, 2, 3 },
		},
		"R2 another boot cannot renew": {
			[][]byte{grant, Renew("a", boot2, Renewal{"blue", 1, 1})},
			[]op.Code{ok, no},
			func(s *State) { s.Phase, s.RenewIndex = Offered, 1 },
		},
		"R2 another node cannot renew": {
			[][]byte{grant, Renew("b", boot1, Renewal{"blue", 1, 1})},
			[]op.Code{ok, no},
			func(s *State) { s.Phase, s.RenewIndex = Offered, 1 },
		},
		"R2 another epoch cannot be renewed": {
			[][]byte{grant, Renew("a", boot1, Renewal{"blue", 2, 1})},
			[]op.Code{ok, no},
			func(s *State) { s.Phase, s.RenewIndex = Offered, 1 },
		},
		"R2 vacant cannot be renewed": {
			[][]byte{grant, Release("blue", 1, boot1, Lost), renew(1)},
			[]op.Code{ok, ok, no},
			func(s *State) { s.RenewIndex, s.VacIndex, s.Reason = 1, 2, Lost },
		},
		"R3a only what is held is handed over": {
			[][]byte{grant, Handover("blue", 1, "b")},
			[]op.Code{ok, no},
			func(s *State) { s.Phase, s.RenewIndex = Offered, 1 },
		},
		"R3a renewals go on": {
			[][]byte{grant, renew(1), Handover("blue", 1, "b"), renew(2)},
			[]op.Code{ok, ok, ok, ok},
			func(s *State) { s.Phase, s.RenewIndex, s.RenewSeq, s.To = Releasing, 4, 2, "b" },
		},
		"R3a of this epoch": {
			[][]byte{grant, renew(1), Handover("blue", 7, "b")},
			[]op.Code{ok, ok, no},
			func(s *State) { s.Phase, s.RenewIndex, s.RenewSeq = Held, 2, 1 },
		},
		"R3b revoked cannot be renewed": {
			[][]byte{grant, renew(1), Handover("blue", 1, ""), Revoke("blue", 1), renew(2)},
			[]op.Code{ok, ok, ok, ok, no},
			func(s *State) { s.Phase, s.RenewIndex, s.RenewSeq = Revoked, 2, 1 },
		},
		"R3b only what was handed over is revoked": {
			[][]byte{grant, renew(1), Revoke("blue", 1)},
			[]op.Code{ok, ok, no},
			func(s *State) { s.Phase, s.RenewIndex, s.RenewSeq = Held, 2, 1 },
		},
		"R3c dead marks the boot": {
			[][]byte{grant, renew(1), Release("blue", 1, boot1, Dead)},
			[]op.Code{ok, ok, ok},
			func(s *State) {
				s.RenewIndex, s.RenewSeq, s.VacIndex, s.Reason, s.Dead = 2, 1, 3, Dead, map[string]uint64{"a": boot1}
			},
		},
		"R3c a lord error suspends": {
			[][]byte{grant, Release("blue", 1, boot1, Failed)},
			[]op.Code{ok, ok},
			func(s *State) {
				s.RenewIndex, s.VacIndex, s.Reason, s.Suspended = 1, 2, Failed, map[string]uint64{"a": 1}
			},
		},
		"R3c another boot's release": {
			[][]byte{grant, renew(1), Release("blue", 1, boot2, Dead), Release("blue", 2, boot1, Dead)},
			[]op.Code{ok, ok, no, no},
			func(s *State) { s.Phase, s.RenewIndex, s.RenewSeq = Held, 2, 1 },
		},
		"R3d a newer renewal wins": {
			[][]byte{grant, renew(1), Expire("blue", 1, 1)},
			[]op.Code{ok, ok, no},
			func(s *State) { s.Phase, s.RenewIndex, s.RenewSeq = Held, 2, 1 },
		},
		"R3d expired": {
			[][]byte{grant, renew(1), Expire("blue", 1, 2)},
			[]op.Code{ok, ok, ok},
			func(s *State) { s.RenewIndex, s.RenewSeq, s.VacIndex, s.Reason = 2, 1, 3, Expired },
		},
		"R27 an offer that expired was missed": {
			[][]byte{grant, Expire("blue", 1, 1)},
			[]op.Code{ok, ok},
			func(s *State) { s.RenewIndex, s.VacIndex, s.Reason = 1, 2, Missed },
		},
		"R28 a new era revokes": {
			[][]byte{grant, renew(1), Era(100), renew(2)},
			[]op.Code{ok, ok, ok, no},
			func(s *State) { s.Phase, s.RenewIndex, s.RenewSeq, s.Era, s.EraIndex = Revoked, 3, 1, 100, 3 },
		},
		"R33 external neither renews nor expires": {
			[][]byte{Grant("blue", External, 0, 0, n), Expire("blue", 1, 1)},
			[]op.Code{ok, no},
			func(s *State) { s.Phase, s.Holder, s.Boot, s.RenewIndex = Held, External, 0, 1 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			table := New()
			if codes := play(table, tt.cmds...); !cmp.Equal(codes, tt.codes) {
				t.Errorf("codes %v, want %v", codes, tt.codes)
			}
			want := State{Legion: "blue", Epoch: 1, Holder: "a", Boot: boot1, Numbers: n}
			tt.want(&want)
			if d := cmp.Diff(want, table.State("blue")); d != "" {
				t.Errorf("state (-want +got):\n%s", d)
			}
		})
	}
}

func TestLordErrorsAreForgiven(t *testing.T) {
	n := Defaults()
	table := New()
	play(table, Grant("blue", "a", boot1, 0, n), Release("blue", 1, boot1, Failed))
	table.Apply(3, 0, Grant("blue", "a", boot1, 2, n))
	if got := table.State("blue").Suspended["a"]; got != 1 {
		t.Fatalf("suspended %d, want 1", got)
	}
	table.Apply(4, 0, Renew("a", boot1, Renewal{"blue", 3, forgiveSeq}))
	if got, ok := table.State("blue").Suspended["a"]; ok {
		t.Errorf("suspended %d after a long lordship", got)
	}
}

func TestEpochsOfALaterEraAreGreater(t *testing.T) {
	n := Defaults()
	table := New()
	table.Apply(1000, 0, Grant("blue", "a", boot1, 0, n))
	// The log was lost; the same indexes come again.
	table.Apply(3, 0, Era(50))
	table.Apply(4, 0, Expire("blue", 1000, 3))
	r := table.Apply(5, 0, Grant("blue", "a", boot1, 4, n))
	if want := int64(50<<eraShift | 5); r.Code != op.OK || r.Num != want {
		t.Errorf("grant = %+v, want epoch %d", r, want)
	}
	if r := table.Apply(6, 0, Era(50)); r.Num != 51 {
		t.Errorf("a second era with the same minutes is %d, want 51", r.Num)
	}
}

func TestOneRenewForManyLegions(t *testing.T) {
	n := Defaults()
	table := New()
	play(table, Grant("blue", "a", boot1, 0, n), Grant("red", "a", boot1, 0, n))
	r := table.Apply(3, 0, Renew("a", boot1, Renewal{"red", 2, 1}, Renewal{"blue", 2, 1}, Renewal{"blue", 1, 1}))
	if want := []op.Code{op.OK, op.Refused, op.OK}; r.Code != op.OK || !cmp.Equal(Answers(r), want) {
		t.Errorf("renew = %v %v, want %v", r.Code, Answers(r), want)
	}
}

func TestCommandsThatAreNotTaken(t *testing.T) {
	bad := Defaults()
	bad.Lease = 0
	wild := Defaults()
	wild.Rho = 0.9
	for name, cmd := range map[string][]byte{
		"nothing":             nil,
		"another version":     {9, kindGrant},
		"another kind":        {version, 99},
		"cut off":             Grant("blue", "a", 1, 0, Defaults())[:9],
		"more behind":         append(Revoke("blue", 1), 0),
		"no lease":            Grant("blue", "a", 1, 0, bad),
		"no clock":            Grant("blue", "a", 1, 0, wild),
		"no name":             Grant("", "a", 1, 0, Defaults()),
		"no node":             Grant("blue", "", 1, 0, Defaults()),
		"a very long name":    Grant(string(make([]byte, 300)), "a", 1, 0, Defaults()),
		"a release for none":  Release("blue", 1, 1, NoReason),
		"a release as expiry": Release("blue", 1, 1, Expired),
		"a query":             Query("blue"),
	} {
		table := New()
		if r := table.Apply(1, 0, cmd); r.Code != op.Invalid {
			t.Errorf("%s: %v, want %v", name, r.Code, op.Invalid)
		}
		if l := table.Legions(); len(l) != 0 {
			t.Errorf("%s made legions %v", name, l)
		}
	}
}

func TestQuery(t *testing.T) {
	table := New()
	play(table, Grant("blue", "a", boot1, 0, Defaults()), Release("blue", 1, boot1, Dead))
	s, err := DecodeState(table.Read(Query("blue")).Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(table.State("blue"), s); d != "" {
		t.Errorf("state (-table +answer):\n%s", d)
	}
	if r := table.Read(Revoke("blue", 1)); r.Code != op.Invalid {
		t.Errorf("a command as a read: %v, want %v", r.Code, op.Invalid)
	}
}

func TestWait(t *testing.T) {
	n := Defaults()
	if got, want := n.Wait().Round(time.Millisecond), 5101*time.Millisecond; got != want {
		t.Errorf("Wait = %v, want %v", got, want)
	}
}

func TestStateWhileApplying(t *testing.T) {
	table := New()
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range uint64(2000) {
			s := table.State("blue")
			if s.Phase == Vacant {
				table.Apply(i+1, 0, Grant("blue", "a", boot1, s.VacIndex, Defaults()))
			} else {
				table.Apply(i+1, 0, Release("blue", s.Epoch, boot1, Dead))
			}
		}
	})
	wg.Go(func() {
		for range 2000 {
			if s := table.State("blue"); s.Phase == Vacant && s.Epoch != 0 && s.Dead["a"] != boot1 {
				t.Error("a state between two")
			}
			if err := table.Snapshot()(io.Discard); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
}

// anyCommand draws commands that fit together often enough to get somewhere.
func anyCommand(r *rapid.T, table *Table) []byte {
	legion := rapid.SampledFrom([]string{"blue", "red"}).Draw(r, "legion")
	node := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "node")
	s := table.State(legion)
	near := func(v uint64, name string) uint64 {
		if rapid.IntRange(0, 3).Draw(r, name) == 0 {
			return v + rapid.Uint64Range(0, 2).Draw(r, name+" off")
		}
		return v
	}
	switch rapid.IntRange(0, 7).Draw(r, "kind") {
	case 0, 1:
		return Grant(legion, node, rapid.Uint64Range(0, 3).Draw(r, "boot"), near(s.VacIndex, "vac"), Defaults())
	case 2, 3:
		return Renew(s.Holder, near(s.Boot, "boot"), Renewal{legion, near(s.Epoch, "epoch"), near(s.RenewSeq+1, "seq")})
	case 4:
		return Handover(legion, near(s.Epoch, "epoch"), node)
	case 5:
		return Release(legion, near(s.Epoch, "epoch"), near(s.Boot, "boot"), Reason(rapid.IntRange(0, 8).Draw(r, "reason")))
	case 6:
		return Expire(legion, near(s.Epoch, "epoch"), near(s.RenewIndex, "renew"))
	}
	if rapid.IntRange(0, 9).Draw(r, "era") == 0 {
		return Era(rapid.Uint64Range(0, 100).Draw(r, "minutes"))
	}
	return Revoke(legion, near(s.Epoch, "epoch"))
}

// Two tables with the same commands are equal, one of which went through a snapshot; epochs only grow.
func TestSnapshotAndTailIsReplay(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		one, other := New(), New()
		var last uint64
		for index := range uint64(rapid.IntRange(1, 60).Draw(r, "length")) {
			cmd := anyCommand(r, one)
			a, b := one.Apply(index+1, 0, cmd), other.Apply(index+1, 0, cmd)
			if d := cmp.Diff(a, b); d != "" {
				r.Fatalf("results differ:\n%s", d)
			}
			if cmd[1] == kindGrant && a.Code == op.OK {
				if uint64(a.Num) <= last {
					r.Fatalf("epoch %d after %d", a.Num, last)
				}
				last = uint64(a.Num)
			}
			if rapid.IntRange(0, 9).Draw(r, "snapshot") == 0 {
				fresh := New()
				if err := fresh.Restore(bytes.NewReader(snapshot(other))); err != nil {
					r.Fatal(err)
				}
				other = fresh
			}
		}
		if a, b := snapshot(one), snapshot(other); !bytes.Equal(a, b) {
			r.Fatalf("snapshots differ:\n%x\n%x", a, b)
		}
	})
}

func snapshot(t *Table) []byte {
	var b bytes.Buffer
	if err := t.Snapshot()(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func TestTablesAreBounded(t *testing.T) {
	table := New()
	index := uint64(0)
	for i := range maxLegions + 1 {
		index++
		r := table.Apply(index, 0, Grant(fmt.Sprint("legion", i), "a", boot1, 0, Defaults()))
		if full := i == maxLegions; full != (r.Code == op.Full) {
			t.Fatalf("legion %d: %v", i, r.Code)
		}
	}
	for i := range maxMarks + 10 {
		s := table.State("legion0")
		index++
		table.Apply(index, 0, Release(s.Legion, s.Epoch, s.Boot, Dead))
		s = table.State("legion0")
		index++
		table.Apply(index, 0, Grant(s.Legion, fmt.Sprintf("node%04d", i), boot1, s.VacIndex, Defaults()))
	}
	if n := len(table.State("legion0").Dead); n != maxMarks {
		t.Errorf("%d dead marks, want %d", n, maxMarks)
	}
}

func FuzzApply(f *testing.F) {
	for _, cmd := range [][]byte{
		Grant("blue", "a", boot1, 0, Defaults()), Renew("a", boot1, Renewal{"blue", 1, 1}), Handover("blue", 1, "b"),
		Revoke("blue", 1), Release("blue", 1, boot1, Dead), Expire("blue", 1, 1), Era(9), Query("blue"),
	} {
		f.Add(cmd)
	}
	f.Fuzz(func(t *testing.T, cmd []byte) {
		table := New()
		play(table, Grant("blue", "a", boot1, 0, Defaults()), cmd, cmd)
		table.Read(cmd)
		again := New()
		if err := again.Restore(bytes.NewReader(snapshot(table))); err != nil {
			t.Fatalf("own snapshot: %v", err)
		}
	})
}

func FuzzRestore(f *testing.F) {
	table := New()
	f.Add(snapshot(table))
	play(table, Grant("blue", "a", boot1, 0, Defaults()), Release("blue", 1, boot1, Dead), Grant("red", "b", boot2, 0, Defaults()), Era(5))
	f.Add(snapshot(table))
	f.Fuzz(func(t *testing.T, b []byte) {
		table := New()
		if err := table.Restore(bytes.NewReader(b)); err != nil {
			return
		}
		first := snapshot(table)
		if err := table.Restore(bytes.NewReader(first)); err != nil {
			t.Fatalf("own snapshot: %v", err)
		}
		if second := snapshot(table); !bytes.Equal(first, second) {
			t.Fatalf("snapshot of a restored snapshot differs:\n%x\n%x", first, second)
		}
		DecodeState(b) //nolint:errcheck // must not panic
	})
}

func ExampleTable() {
	t := New()
	vacant := t.State("blue")
	r := t.Apply(1, 0, Grant("blue", "node-a", 1<<32, vacant.VacIndex, Defaults()))
	t.Apply(2, 0, Renew("node-a", 1<<32, Renewal{Legion: "blue", Epoch: uint64(r.Num), Seq: 1}))
	s := t.State("blue")
	fmt.Println(s.Holder, s.Phase, s.Epoch)
	// Output: node-a held 1
}
