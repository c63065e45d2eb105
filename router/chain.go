package router

// Verdict is what a rule decided.
type Verdict uint8

const (
	Next     Verdict = iota // go on with the next rule
	Continue                // leave the table: the handler runs
	Break                   // leave the table: the request is done
	Goto                    // go on at the rule that the action chose; only goto: returns it
)

// chain is one table, compiled. It is never changed after that, so any number of requests run it at once.
type chain struct {
	rules  []compiled
	labels map[string]int
}

// compiled is one rule: its test and its action folded into one call.
type compiled struct {
	run   Action
	where string
}

// run gives the request to one rule after the other. Groups of a match last for one rule; those of a rule
// that is running further out, and made this chain run, are kept for it.
func (c *chain) run(r *Request) Verdict {
	if len(c.rules) == 0 {
		return Next
	}
	outer, where := r.match, r.where
	verdict := c.walk(r)
	r.match, r.where = outer, where
	return verdict
}

func (c *chain) walk(r *Request) Verdict {
	for i := 0; i < len(c.rules); {
		rule := &c.rules[i]
		r.match, r.where = match{}, rule.where
		switch v := rule.run(r); v {
		case Next:
			i++
		case Goto:
			i = r.target // always ahead: goto: saw to that
		default:
			return v
		}
	}
	return Next
}
