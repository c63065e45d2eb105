package node

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// each does the same to all machines at once.
func each(all []*box, do func(b *box)) {
	var wg sync.WaitGroup
	for _, b := range all {
		wg.Go(func() { do(b) })
	}
	wg.Wait()
}

func TestEverythingIsKeptWhenAllStopAndStartAtOtherAddresses(t *testing.T) {
	for name, off := range map[string]func(*box){"stopped": (*box).stop, "killed": (*box).kill} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				all := w.ready(3, withDisk)
				for range 7 {
					w.mustInc(all[0], "n")
				}
				for round := range 3 {
					clusterID, epoch := all[0].running().control.ClusterID(), all[2].epoch()
					var ids, now []string
					for _, b := range all {
						ids = append(ids, b.id)
					}
					each(all, off)
					each(all, func(b *box) { <-b.done })
					for i, b := range all {
						b.unplug()
						b.ip = fmt.Sprintf("10.0.%d.%d", round+1, i+1)
					}
					for _, b := range all {
						b.start()
						now = append(now, b.id)
					}
					w.wantLord(20*time.Second, all[2])
					w.wantCluster(all[2], all...)
					if !slices.Equal(now, ids) {
						w.t.Errorf("identities %q, want %q as before", now, ids)
					}
					if got := all[0].running().control.ClusterID(); got != clusterID {
						w.t.Errorf("cluster %q, want %q as before", got, clusterID)
					}
					if got := all[2].running().id.Counter; got != uint32(round+2) {
						w.t.Errorf("boot %d, want %d", got, round+2)
					}
					if now := all[2].epoch(); now <= epoch {
						w.t.Errorf("epoch %d after %d, want a greater one", now, epoch)
					}
					if got := w.count(all[1], "n"); got != 7 {
						w.t.Errorf("the counter holds %d, want 7", got)
					}
				}
			})
		})
	}
}

func TestANodeThatLostItsDataComesBackAsANewOne(t *testing.T) {
	bubble(t, func(w *world) {
		all := w.ready(3, withDisk)
		stop := w.flood(16, "n", all...)
		time.Sleep(3 * time.Second)
		for _, b := range []*box{all[1], all[0], all[2]} { // each once, so nothing of the first disks is left
			old, boots := b.id, b.running().id.Counter
			b.kill()
			<-b.done
			withDisk(b)
			b.start()
			if b.id == old || boots != 1 {
				w.t.Fatalf("%s came back as %s from an empty disk, and was %s", b.name, b.id, old)
			}
			w.eventually(30*time.Second, b.name+" has replaced what it was", func() bool {
				for _, b := range all {
					for _, members := range [][]string{memberIDs(b.running().control.Members()), memberIDs(b.running().cache.Members())} {
						if len(members) != 3 || slices.Contains(members, old) {
							return false
						}
					}
				}
				return w.voters(all...) == 3
			})
			w.eventually(20*time.Second, "the strongest rules", all[2].isLord)
		}
		time.Sleep(2 * time.Second)
		t := stop()
		w.t.Log(t)
		t.check(w, w.count(all[0], "n"))
		w.wantCluster(all[2], all...)
	})
}

func memberIDs(voters, others []string) []string { return append(slices.Clone(voters), others...) }

func TestAMinorityAfterARestartTakesNoWrite(t *testing.T) {
	bubble(t, func(w *world) {
		all := w.ready(3, withDisk)
		w.mustInc(all[0], "n")
		each(all, (*box).stop)
		all[2].start()
		w.wantNobody(30*time.Second, all[2])
		w.wantNoWrite(all[2])
		all[0].start()
		w.wantLord(15*time.Second, all[2])
		if got := w.count(all[0], "n"); got != 1 {
			w.t.Errorf("the counter holds %d, want 1", got)
		}
	})
}
