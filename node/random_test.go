package node

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var (
	seeds  = flag.Int("seeds", 10, "how many random schedules to run")
	faults = flag.Duration("faults", 30*time.Second, "how long each goes on")
	seed   = flag.Uint64("seed", 0, "run this schedule only, and print what it does")
)

// TestNothingBreaksUnderRandomFaults throws faults at a cluster under load for a while. All the time nobody
// else than the lord rules and nothing of two epochs lives; in the end all are one cluster again, and every
// acknowledged increment is there.
func TestNothingBreaksUnderRandomFaults(t *testing.T) {
	first, last := uint64(1), uint64(*seeds)
	if *seed > 0 {
		first, last = *seed, *seed
	}
	for s := first; s <= last; s++ {
		t.Run(fmt.Sprint("seed ", s), func(t *testing.T) {
			bubble(t, func(w *world) { newSchedule(w, s).run() })
		})
	}
}

// schedule is one course of faults.
type schedule struct {
	*world
	rng     *rand.Rand
	all     []*box
	address int
}

func newSchedule(w *world, seed uint64) *schedule {
	return &schedule{world: w, rng: rand.New(rand.NewPCG(seed, 7))}
}

func (s *schedule) run() {
	n := 3
	if s.rng.IntN(3) == 0 {
		n = 5
	}
	s.net.Seed(s.rng.Uint64())
	s.expect, s.legion.Quorum = n, 1+s.rng.IntN(2)
	s.all = s.ready(n, withDisk, func(b *box) {
		b.clock.rate = 0.99 + 0.02*s.rng.Float64()
	})
	stop := s.flood(2*n, "n", s.all...)
	for until := time.Now().Add(*faults); time.Now().Before(until); {
		s.sleep(0, 3*time.Second)
		s.fault()
	}
	s.calm()
	s.eventually(40*time.Second, "one cluster with one lord again", func() bool {
		return len(s.lords()) == 1 && s.allVote()
	})
	time.Sleep(2 * time.Second)
	t := stop()
	s.t.Log(t)
	for _, b := range s.all {
		t.check(s.world, s.count(b, "n"))
	}
	if s.t.Failed() {
		s.t.Logf("to see it again: go test ./node -run RandomFaults -seed N -v\n%s", s.state())
	}
}

// allVote says whether all machines have a vote in both groups. A lost disk's old vote may be there too: when
// everybody was restarted since, nobody remembers whose it was.
func (s *schedule) allVote() bool {
	for _, b := range s.all {
		n := b.running()
		control, _ := n.control.Members()
		cache, _ := n.cache.Members()
		for _, o := range s.all {
			if !slices.Contains(control, o.id) || !slices.Contains(cache, o.id) {
				return false
			}
		}
	}
	return true
}

// say tells what is done, when somebody looks at one schedule.
func (s *schedule) say(what string, args ...any) {
	if *seed > 0 {
		s.t.Logf("at %v: %s", s.now(), fmt.Sprintf(what, args...))
	}
}

func (s *schedule) sleep(least, most time.Duration) {
	time.Sleep(least + time.Duration(s.rng.Int64N(int64(most-least))))
}

// victim is some machine; half of the time the one that matters most.
func (s *schedule) victim() *box {
	switch s.rng.IntN(4) {
	case 0:
		for _, b := range s.all {
			if b.isLord() {
				return b
			}
		}
	case 1:
		if b := s.leader("control"); b != nil {
			return b
		}
	}
	return s.all[s.rng.IntN(len(s.all))]
}

// fault does one thing that should not matter.
func (s *schedule) fault() {
	b, other := s.victim(), s.all[s.rng.IntN(len(s.all))]
	switch k := s.rng.IntN(16); {
	case b.running() == nil:
		s.revive(b)
	case k < 3:
		s.say("%s is killed", b.name)
		b.kill()
		if s.rng.IntN(2) == 0 {
			s.sleep(0, 400*time.Millisecond)
			s.revive(b)
		}
	case k < 4:
		s.say("%s is lost", b.name)
		b.crash()
	case k < 5:
		s.say("%s is stopped", b.name)
		b.stop()
	case k < 6:
		s.say("%s is cut off", b.name)
		s.net.Isolate(b.name)
	case k < 7 && other != b:
		s.say("%s and %s are cut", b.name, other.name)
		s.net.Cut(b.name, other.name)
	case k < 9 && other != b:
		s.say("nothing goes from %s to %s", b.name, other.name)
		s.net.CutOneWay(b.name, other.name)
	case k < 11:
		s.say("all cables are mended")
		s.net.Heal()
	case k < 12:
		s.pause(b)
	case k < 13:
		s.change(b)
	case k < 14:
		s.say("announcements are dropped %t", k%2 == 0)
		s.dropAnnouncements(s.rng.IntN(2) == 0)
	case k < 15:
		s.net.Loss(0.3 * s.rng.Float64())
		s.net.Delay(time.Millisecond, time.Duration(1+s.rng.IntN(20))*time.Millisecond)
	default:
		s.loseDisk(b)
	}
}

// revive switches a machine on again, now and then at another address.
func (s *schedule) revive(b *box) {
	if s.rng.IntN(4) == 0 {
		s.address++
		b.unplug()
		b.ip = fmt.Sprintf("10.1.0.%d", s.address)
	}
	s.say("%s starts at %s", b.name, b.ip)
	b.start()
}

// pause keeps a node's process from doing anything that counts time, while its guardians go on.
func (s *schedule) pause(b *box) {
	s.say("%s is paused", b.name)
	b.pause()
	s.sleep(50*time.Millisecond, 8*time.Second)
	s.say("%s goes on", b.name)
	b.resume()
}

// change is what an operator may ask for.
func (s *schedule) change(b *box) {
	n, l := b.running(), b.blue()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	switch s.rng.IntN(4) {
	case 0:
		s.say("%s gets another valor", b.name)
		l.SetValor(int64(s.rng.IntN(60)))
	case 1:
		s.say("%s is drained", b.name)
		_ = admin{n}.Drain(ctx, true) // what it came to, the invariants tell
	case 2:
		_ = admin{n}.Drain(ctx, false)
	default:
		s.say("%s steps down", b.name)
		_ = admin{n}.StepDown(ctx, "blue")
	}
}

// loseDisk takes the disk away from a machine, if all others are well: the cluster bears one such loss at a
// time. Of five machines none loses its disk here: if all are restarted afterwards, nobody remembers whose the
// old vote was, and it keeps the new one out until it is reaped.
func (s *schedule) loseDisk(b *box) {
	if len(s.all) == 5 || len(s.live()) < len(s.all) || s.voters(s.all...) != len(s.all) || !s.allVote() {
		return
	}
	s.say("%s loses its disk", b.name)
	b.kill()
	<-b.done
	withDisk(b)
	b.start()
}

// calm ends all faults.
func (s *schedule) calm() {
	s.say("all faults end")
	s.net.Heal()
	s.net.Loss(0)
	s.dropAnnouncements(false)
	for i, b := range s.all {
		if b.running() == nil {
			b.start()
		}
		_ = admin{b.running()}.Drain(context.Background(), false) // nothing to wait for
		b.blue().SetValor(int64(10 * (i + 1)))
	}
}
