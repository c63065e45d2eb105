package router

// Kind is how a rule decides whether it runs.
type Kind int

const (
	Match  Kind = iota // Subject against the regular expression Test
	If                 // the condition Test, "name:arguments"
	IfNot              // not the condition Test
	Run                // always
	Label              // never: a target of goto, named by Test
	Status             // the answer's status equals Test
)

// Rule is one routing line of the ini, not yet compiled.
type Rule struct {
	Table   string // route, error-route, response-route or final-route
	Kind    Kind
	Subject string // for Match: "" is PATH_INFO, else host, uri, qs, remote-addr, user-agent, remote-user, referer
	Test    string // regular expression, condition, label or status, by Kind
	Action  string // "name:arguments"
	Where   string // file:line, for messages
}

// option is the name of the ini option that makes such a rule.
func (u Rule) option() string {
	switch u.Kind {
	case If:
		return u.Table + "-if"
	case IfNot:
		return u.Table + "-if-not"
	case Run:
		return u.Table + "-run"
	case Label:
		return u.Table + "-label"
	case Status:
		return u.Table + "-status"
	}
	if u.Subject != "" {
		return u.Table + "-" + u.Subject
	}
	return u.Table
}
