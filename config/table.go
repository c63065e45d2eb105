package config

import "slices"

// kind says what it means that an option is given more than once.
type kind int

const (
	one    kind = iota // the last one counts
	yesNo              // yes or no, the last one counts
	list               // all count, in their order
	places             // as list, but those on the command line replace those of the file: where a node is
)

func (k kind) single() bool { return k == one || k == yesNo }

func (k kind) String() string {
	return [...]string{"last counts", "yes or no", "repeatable", "repeatable; the command line replaces the file"}[k]
}

// option is one row of the table.
type option struct {
	name  string
	help  string // "ARGUMENT: what it does", or "what it does" for a flag
	group string
	value string // default, as it is shown
	kind  kind
	slot  string // options that say the same thing share one; empty: the name
	first bool   // set before the others, which name what it defines
	set   func(entry) error
}

// names of the groups, in the order of the help.
const (
	groupNode    = "node"
	groupCluster = "cluster"
	groupCaches  = "caches"
	groupLegions = "legions"
	groupDaemons = "daemons"
	groupGateway = "gateway"
	groupRules   = "rules"
)

// table is every option there is. --help, docs/options.md, and what an ini may say are this one list.
func table(r *reader) []option {
	c := r.config
	rows := []option{
		{name: "node", help: "NAME: name of this node", group: groupNode, value: "host name", set: word(&c.Node)},
		{name: "data", help: "DIR: where everything is kept that must outlive a restart", group: groupNode, value: "./cohort-data/NODE", set: text(&c.Data)},
		{name: "strict", help: "no: mistakes in names of options are only warned of; yes: they stop the node in [uwsgi] too", group: groupNode, kind: yesNo, first: true, set: r.setStrict},
		{name: "log-debug", help: "log why things happen too, not only what", group: groupNode, kind: yesNo, set: yes(&c.LogDebug)},
		{name: "log-json", help: "log a JSON object for each line", group: groupNode, kind: yesNo, set: yes(&c.LogJSON)},
		{name: "plugin", help: "NAME,...: accepted; all that cohort can do is built in", group: groupNode, kind: list, set: setPlugins},
		{name: "plugins", help: "NAME,...: the same as plugin", group: groupNode, kind: list, set: setPlugins},
		{name: "need-plugin", help: "NAME,...: the same as plugin", group: groupNode, kind: list, set: setPlugins},
		{name: "need-plugins", help: "NAME,...: the same as plugin", group: groupNode, kind: list, set: setPlugins},
		{name: "master", help: "accepted; a node is always its own master", group: groupNode, kind: yesNo, set: ignore},
		{name: "die-on-term", help: "accepted; SIGTERM always stops a node", group: groupNode, kind: yesNo, set: ignore},

		{name: "cluster", help: "IP:PORT: the one port of all traffic between nodes, TCP and UDP; a cluster of one without it", group: groupCluster, set: address(&c.Cluster.Bind, true)},
		{name: "cluster-advertise", help: "IP:PORT: address the other nodes reach this one at", group: groupCluster, value: "that of cluster", set: address(&c.Cluster.Advertise, false)},
		{name: "cluster-join", help: "HOST:PORT,...: where to look for other nodes; the same line may stand on every node", group: groupCluster, kind: places, set: r.setJoin},
		{name: "cluster-expect", help: "N: begin once N nodes have found each other; only the first start asks", group: groupCluster, set: count(&c.Cluster.Expect, 1, 1000)},
		{name: "cluster-secret", help: "TEXT: what all nodes know and no stranger does, 32 characters or more; needed off loopback. `cohort secret` makes one", group: groupCluster, slot: "secret", set: secret(&c.Cluster.Secret)},
		{name: "cluster-secret-file", help: "FILE: the same, read from a file that only its owner may read", group: groupCluster, slot: "secret", set: r.setSecretFile},
		{name: "cluster-old-secret", help: "TEXT: the secret before, accepted too while the nodes get a new one", group: groupCluster, set: secret(&c.Cluster.OldSecret)},
		{name: "cluster-name", help: "NAME: name of the cluster, part of its keys", group: groupCluster, value: "cohort", set: word(&c.Cluster.Name)},
		{name: "cluster-role", help: "voter|client: a client never votes and keeps no log", group: groupCluster, value: "voter", set: choice(&c.Cluster.Client, "voter", "client")},
		{name: "control-timeout", help: "TIME: heartbeat, election and lease of the group that agrees on lords", group: groupCluster, value: "500ms", set: positive(&c.Raft.ControlTimeout)},
		{name: "cache-timeout", help: "TIME: the same for the group that agrees on caches", group: groupCluster, value: "1s", set: positive(&c.Raft.CacheTimeout)},
		{name: "raft-log", help: "bolt|wal: what the logs are kept in", group: groupCluster, value: "bolt", set: choice(&c.Raft.WAL, "bolt", "wal")},

		{name: "cache2", help: "name=NAME,items=N[,blocksize=64K][,keysize=2048][,scope=cluster|node][,unavailable=closed|open]: a cache; the first one is the default", group: groupCaches, kind: list, set: r.setCache},

		{name: "legion", help: "NAME VALOR CIPHER:SECRET: be a member of a legion; the member of the highest valor is its lord, valor 0 only votes", group: groupLegions, kind: list, first: true, set: r.setLegion},
		{name: "legion-mcast", help: "NAME IP:PORT VALOR CIPHER:SECRET [IV]: as legion; the address is for uWSGI's datagrams", group: groupLegions, kind: list, first: true, set: r.setLegionMcast},
		{name: "legion-node", help: "NAME IP:PORT: a uWSGI node that announcements are sent to", group: groupLegions, kind: list, set: r.setLegionNode},
		{name: "legion-old-secret", help: "NAME SECRET: the secret before, accepted too while the nodes get a new one", group: groupLegions, kind: list, set: r.setLegionOldSecret},
		{name: "legion-quorum", help: "NAME VOTES: votes a legion needs before it names a lord; fewer where a legion lives on some nodes only", group: groupLegions, value: "majority of cluster-expect", kind: list, set: r.setQuorum},
		{name: "legion-scroll", help: "NAME TEXT: a text that this node shows to the others", group: groupLegions, kind: list, set: r.setScroll},
		{name: "legion-lord", help: "NAME cmd:COMMAND: runs when this node becomes lord", group: groupLegions, kind: list, set: r.hook(hookLord)},
		{name: "legion-unlord", help: "NAME cmd:COMMAND: runs when this node is lord no more, and undoes what legion-lord did", group: groupLegions, kind: list, set: r.hook(hookUnlord)},
		{name: "legion-setup", help: "NAME cmd:COMMAND: runs at the start of the node", group: groupLegions, kind: list, set: r.hook(hookSetup)},
		{name: "legion-death", help: "NAME cmd:COMMAND: runs at the end of the node", group: groupLegions, kind: list, set: r.hook(hookDeath)},
		{name: "legion-join", help: "NAME cmd:COMMAND: runs when the legion first has its quorum", group: groupLegions, kind: list, set: r.hook(hookJoin)},
		{name: "legion-node-joined", help: "NAME cmd:COMMAND: runs when a member came", group: groupLegions, kind: list, set: r.hook(hookNodeJoined)},
		{name: "legion-node-left", help: "NAME cmd:COMMAND: runs when a member went", group: groupLegions, kind: list, set: r.hook(hookNodeLeft)},
		{name: "legion-hook-timeout", help: "[NAME] TIME: most time each hook may take", group: groupLegions, value: "30s", kind: list, set: r.legionTime(hookTimeout, false)},
		{name: "legion-death-on-lord-error", help: "[NAME] TIME: how long a node stands back whose legion-lord failed", group: groupLegions, value: "3s", kind: list, set: r.legionTime(lordError, true)},
		{name: "legion-preempt-delay", help: "[NAME] TIME: how long a stronger member must be well before it takes over", group: groupLegions, value: "10s", kind: list, set: r.legionTime(preemptDelay, true)},
		{name: "legion-preempt", help: "[NAME] yes|no: no: a lord stays lord as long as it is well", group: groupLegions, value: "yes", kind: list, set: r.setPreempt},
		{name: "legion-announce", help: "[NAME] TIME: how often a member says that it is there", group: groupLegions, value: "1s", kind: list, set: r.legionTime(announce, false)},
		{name: "legion-timing", help: "NAME lease=5s,renew=500ms,retry=100ms,soft=1.5s,kill=1s,stall=700ms,reap=200ms,grace=500ms,stop-grace=10s,offer=500ms,rho=0.01: times of the lease, each may be left out", group: groupLegions, kind: list, set: r.setTiming},

		{name: "attach-daemon", help: "COMMAND: a program that is kept running on every node", group: groupDaemons, kind: list, set: r.setDaemon},
		{name: "legion-attach-daemon", help: "NAME COMMAND: a program that runs only where the legion's lord is", group: groupDaemons, kind: list, set: r.legionDaemon(false)},
		{name: "smart-attach-daemon", help: "PIDFILE[,TRIES] COMMAND: the same for a program that goes to the background and writes PIDFILE", group: groupDaemons, kind: list, set: r.setSmartDaemon},
		{name: "legion-smart-attach-daemon", help: "NAME PIDFILE[,TRIES] COMMAND: the same, only where the legion's lord is", group: groupDaemons, kind: list, set: r.legionDaemon(true)},
		{name: "daemons-stop-grace", help: "TIME: from SIGTERM to SIGKILL of every daemon", group: groupDaemons, value: "3s", set: positive(&r.stopGrace)},

		{name: "http-socket", help: "HOST:PORT: answer HTTP here; :PORT is all addresses, /PATH a unix socket", group: groupGateway, kind: places, slot: "listen", set: r.setListen},
		{name: "http", help: "HOST:PORT: the same as http-socket", group: groupGateway, kind: places, slot: "listen", set: r.setListen},
		{name: "http-headers-timeout", help: "TIME: from the first byte of a request to the end of its head", group: groupGateway, value: "10s", set: positive(&c.Gateway.HeaderTimeout)},
		{name: "buffer-size", help: "SIZE: most bytes of a request's head, 431 beyond", group: groupGateway, value: "64K", set: size(&c.Gateway.MaxHeader, mostHeader)},
		{name: "limit-post", help: "SIZE: most bytes of a request's body, 413 beyond", group: groupGateway, value: "no limit", set: size(&c.Gateway.LimitPost, mostBody)},
	}
	rows = append(rows, ruleTable(r)...)
	slices.SortStableFunc(rows, func(a, b option) int { return groupRank(a.group) - groupRank(b.group) })
	return rows
}

// Groups are the names of the groups of options, as Help takes them.
func Groups() []string {
	return []string{groupNode, groupCluster, groupCaches, groupLegions, groupDaemons, groupGateway, groupRules}
}

func groupRank(group string) int { return slices.Index(Groups(), group) }
