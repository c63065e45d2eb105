package cluster
import ("testing";"time";"fmt";"sort")
func TestZZ(t *testing.T){
 for _, count := range []int{3,5,9} {
 var joins, metas []time.Duration
 for range 100 {
  bubble(t, func(w *world){
   start := time.Now()
   nodes := w.start(count)
   for _, n := range nodes { w.eventually(30*time.Second,"x",func() bool { return countAlive(n.Cluster)==count }) }
   joins = append(joins, time.Since(start))
   start = time.Now()
   for i, n := range nodes { n.SetMeta(func(m *Meta){ m.Sees = fmt.Sprint(i) }) }
   for _, n := range nodes { w.eventually(30*time.Second,"y",func() bool { for i, m := range n.Members() { if m.Meta.Sees != fmt.Sprint(i) {return false} }; return true }) }
   metas = append(metas, time.Since(start))
  })
 }
 for _, x := range [][]time.Duration{joins, metas} { sort.Slice(x, func(i,j int) bool {return x[i]<x[j]}); fmt.Println(count, x[50], x[90], x[97], x[99]) }
 }
}
