package daemons

// ringLines is how much of a program's output is kept.
const ringLines = 1000

// ring keeps the last lines.
type ring struct {
	lines []string
	next  int // where the next one goes once lines is full
}

func (r *ring) add(line string) {
	if len(r.lines) < ringLines {
		r.lines = append(r.lines, line)
		return
	}
	r.lines[r.next] = line
	r.next = (r.next + 1) % ringLines
}

// last is up to n lines, oldest first.
func (r *ring) last(n int) []string {
	n = max(0, min(n, len(r.lines)))
	out := make([]string, 0, n)
	for i := len(r.lines) - n; i < len(r.lines); i++ {
		out = append(out, r.lines[(r.next+i)%len(r.lines)])
	}
	return out
}
