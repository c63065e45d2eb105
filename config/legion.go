package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cohortd/cohort/legion"
)

// errLegionForm repeats nothing of the line: the secret may stand anywhere in a line of the wrong form.
var errLegionForm = errors.New("wants NAME VALOR CIPHER:SECRET, such as legion1 100 bf-cbc:abc")

// mostValor is the greatest valor that fits a uWSGI node too.
const mostValor = 65535

// setLegion reads NAME [ADDRESS] VALOR CIPHER:SECRET [IV]. The form without an address came with uWSGI
// 1.9.9's example of legion daemons; what stands second is a number then.
func (r *reader) setLegion(e entry) error {
	name, rest := cutWord(e.value)
	second, rest := cutWord(rest)
	addr, valor := "", second
	if _, err := strconv.ParseInt(second, 10, 64); err != nil {
		addr = second
		valor, rest = cutWord(rest)
	}
	secret, iv := cutWord(rest)
	cipher, secret, found := strings.Cut(secret, ":")
	n, err := strconv.ParseInt(valor, 10, 64)
	if err != nil || !found || cipher == "" || secret == "" || !isName(name) {
		return errLegionForm
	}
	if n < 0 || n > mostValor {
		return fmt.Errorf("valor %d is not from 0 to %d", n, mostValor)
	}
	if err := checkSecret(secret); err != nil {
		return err
	}
	if other, err := r.legion(name); err == nil {
		return fmt.Errorf("there is a legion %q already, of %s", name, other.Where)
	}
	r.legionPlaces[name] = e.place
	l := legion.Default()
	l.Quorum = 0 // until all is read: defaultQuorum
	l.Name, l.Addr, l.Valor, l.Cipher, l.Secret, l.IV = name, addr, n, cipher, secret, iv
	l.Where = e.place.String()
	r.config.Legions = append(r.config.Legions, l)
	return nil
}

func (r *reader) setLegionMcast(e entry) error {
	if err := r.setLegion(e); err != nil {
		return err
	}
	l := &r.config.Legions[len(r.config.Legions)-1]
	if l.Addr == "" {
		return errors.New("the address is missing: legion needs none, legion-mcast does")
	}
	l.Nodes = append(l.Nodes, l.Addr)
	return nil
}

func (r *reader) legion(name string) (*legion.Config, error) {
	for i := range r.config.Legions {
		if l := &r.config.Legions[i]; l.Name == name {
			return l, nil
		}
	}
	var names []string
	for _, l := range r.config.Legions {
		names = append(names, l.Name)
	}
	switch {
	case !isName(name):
		return nil, errors.New("the name of a legion comes first")
	case len(names) == 0:
		return nil, fmt.Errorf("there is no legion %q: add legion = %s VALOR CIPHER:SECRET", name, name)
	}
	return nil, fmt.Errorf("there is no legion %q, but %s", name, strings.Join(names, ", "))
}

// legionOf takes the name of a legion off a value.
func (r *reader) legionOf(value string) (*legion.Config, string, error) {
	name, rest := cutWord(value)
	l, err := r.legion(name)
	if err != nil {
		return nil, "", err
	}
	if rest == "" {
		return nil, "", fmt.Errorf("nothing stands behind the legion %q", name)
	}
	return l, rest, nil
}

func (r *reader) setLegionNode(e entry) error {
	l, addr, err := r.legionOf(e.value)
	if err == nil {
		err = checkHostPort(addr, false)
	}
	if err != nil {
		return err
	}
	l.Nodes = append(l.Nodes, addr)
	return nil
}

func (r *reader) setLegionOldSecret(e entry) error {
	l, value, err := r.legionOf(e.value)
	if err == nil {
		err = checkSecret(value)
	}
	if err != nil {
		return err
	}
	l.OldSecret = value
	return nil
}

func (r *reader) setQuorum(e entry) error {
	l, votes, err := r.legionOf(e.value)
	if err != nil {
		return err
	}
	l.Quorum, err = parseCount(votes, 0, 1000)
	return err
}

func (r *reader) setScroll(e entry) error {
	l, scroll, err := r.legionOf(e.value)
	if err != nil {
		return err
	}
	l.Scroll = scroll
	return nil
}

func hookLord(l *legion.Config) *[]string       { return &l.Lord }
func hookUnlord(l *legion.Config) *[]string     { return &l.Unlord }
func hookSetup(l *legion.Config) *[]string      { return &l.Setup }
func hookDeath(l *legion.Config) *[]string      { return &l.Death }
func hookJoin(l *legion.Config) *[]string       { return &l.Join }
func hookNodeJoined(l *legion.Config) *[]string { return &l.NodeJoined }
func hookNodeLeft(l *legion.Config) *[]string   { return &l.NodeLeft }

// hook reads NAME ACTION:ARGS. Of uWSGI's actions those that run a command are built.
func (r *reader) hook(field func(*legion.Config) *[]string) func(entry) error {
	return func(e entry) error {
		l, action, err := r.legionOf(e.value)
		if err != nil {
			return err
		}
		kind, command, _ := strings.Cut(action, ":")
		command = strings.TrimSpace(command)
		switch kind {
		case "cmd", "exec":
			if command == "" {
				return fmt.Errorf("the command behind %s: is missing", kind)
			}
			hooks := field(l)
			*hooks = append(*hooks, command)
			return nil
		case "log", "signal", "alarm", "legion-cache-fetch":
			r.notice(e.place, "%s: %s: is not built yet, so this hook does nothing; cmd:COMMAND runs a command", e.key, kind)
			return nil
		}
		return errors.New("there is no such action: write cmd:COMMAND")
	}
}

func hookTimeout(l *legion.Config) *time.Duration  { return &l.HookTimeout }
func lordError(l *legion.Config) *time.Duration    { return &l.LordError }
func preemptDelay(l *legion.Config) *time.Duration { return &l.PreemptDelay }
func announce(l *legion.Config) *time.Duration     { return &l.Announce }

// legionTime reads [NAME] TIME.
func (r *reader) legionTime(field func(*legion.Config) *time.Duration, zero bool) func(entry) error {
	return func(e entry) error {
		name, value := optionalName(e.value)
		d, err := parseTime(value)
		switch {
		case err != nil:
			return err
		case d == 0 && !zero:
			return errors.New("a time of 0 makes no sense here")
		}
		return r.eachLegion(e, name, func(l *legion.Config) { *field(l) = d })
	}
}

func (r *reader) setPreempt(e entry) error {
	name, value := optionalName(e.value)
	return r.eachLegion(e, name, func(l *legion.Config) { l.NoPreempt = !parseFlag(value) })
}

func optionalName(s string) (name, value string) {
	if first, rest := cutWord(s); rest != "" {
		return first, rest
	}
	return "", s
}

// eachLegion sets something of one legion, or of all that were not given their own.
func (r *reader) eachLegion(e entry, name string, set func(*legion.Config)) error {
	if name != "" {
		l, err := r.legion(name)
		if err != nil {
			return err
		}
		r.own[e.key+" "+name] = true
		set(l)
		return nil
	}
	for i := range r.config.Legions {
		if l := &r.config.Legions[i]; !r.own[e.key+" "+l.Name] {
			set(l)
		}
	}
	return nil
}

// setTiming reads NAME key=time,...: the times of a lease, which the holder and its guardian get with it.
func (r *reader) setTiming(e entry) error {
	l, rest, err := r.legionOf(e.value)
	if err != nil {
		return err
	}
	pairs, err := parsePairs(rest)
	if err != nil {
		return err
	}
	r.seen["legion-timing "+l.Name] = e.place
	n := &l.Numbers
	times := map[string]*time.Duration{
		"lease": &n.Lease, "renew": &n.Renew, "retry": &n.Retry, "soft": &n.Soft, "kill": &n.Kill, "stall": &n.Stall,
		"reap": &n.Reap, "grace": &n.Grace, "stop-grace": &n.StopGrace, "offer": &n.Offer,
	}
	for _, p := range pairs {
		field := times[p.key]
		switch {
		case p.key == "rho":
			n.Rho, err = parseFraction(p.value)
		case field != nil:
			*field, err = parseTime(p.value)
		default:
			return fmt.Errorf("%s is no time of a lease: there are lease, renew, retry, soft, kill, stall, reap, grace, stop-grace, offer and rho", quoteName(p.key))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.key, err)
		}
	}
	return nil
}

// finishLegions judges what depends on the cluster: uWSGI's datagrams are not spoken, so a legion with an
// address has nobody to talk to unless our own port is there.
func (r *reader) finishLegions() {
	for i := range r.config.Legions {
		l := &r.config.Legions[i]
		if l.Quorum == 0 {
			l.Quorum = r.defaultQuorum()
		}
		*l = l.WithDefaults() // an ini may say 0 for "as ever"
		at := r.legionPlaces[l.Name]
		if l.Addr != "" || len(l.Nodes) > 0 {
			r.judgeDatagrams(l, at)
		}
		if expect := r.config.Cluster.Expect; expect > 0 && l.Quorum > expect {
			r.notice(at, "legion %q wants %d votes and cluster-expect is %d: there is no lord until more nodes come", l.Name, l.Quorum, expect)
		}
	}
}

func (r *reader) judgeDatagrams(l *legion.Config, at place) {
	switch {
	case r.config.Cluster.Bind != "":
		r.notice(at, "legion %q: uWSGI's datagrams are not spoken yet, so uWSGI nodes take no part; the nodes of this cluster do, over the cluster's port", l.Name)
	case l.Addr != "":
		r.fail(at, fmt.Errorf("legion %q: the address is for uWSGI's datagrams, which are not spoken yet. Leave it out (legion = %s %d CIPHER:SECRET) "+
			"and let the nodes find each other with cluster = IP:PORT and cluster-join", l.Name, l.Name, l.Valor))
	default:
		r.notice(at, "legion %q: legion-node has no effect, since uWSGI's datagrams are not spoken yet; cluster-join is where nodes look for each other", l.Name)
	}
}

// defaultQuorum is a majority of the nodes the cluster starts with: then nobody rules on its own word alone, such as
// a node that has another legion secret, or hears no announcements. Alone, one vote is a majority.
func (r *reader) defaultQuorum() int {
	if r.config.Cluster.Bind == "" {
		return 1
	}
	return r.config.Cluster.Expect/2 + 1
}
