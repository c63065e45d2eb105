package node

import (
	"testing"
	"time"
)

func TestThreeNodesFormOneCluster(t *testing.T) {
	bubble(t, func(w *world) {
		all := w.ready(3)
		w.t.Log("ready at", w.now())
		w.wantSteady(10*time.Second, all[2])
	})
}
