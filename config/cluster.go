package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// longestSecret bounds what is read of a secret file.
const longestSecret = 4096

func (r *reader) setJoin(e entry) error {
	for addr := range strings.SplitSeq(e.value, ",") {
		if addr = strings.TrimSpace(addr); addr == "" {
			continue
		}
		if err := checkHostPort(addr, false); err != nil {
			return err
		}
		r.config.Cluster.Join = append(r.config.Cluster.Join, addr)
	}
	return nil
}

// setSecretFile reads the secret from a file. The last line break is not part of it.
func (r *reader) setSecretFile(e entry) error {
	info, err := os.Stat(e.value) // before it is opened: to open a pipe would wait for its writer
	switch {
	case err != nil:
		return fmt.Errorf("%s %w", e.value, readError(err))
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", e.value)
	case info.Size() > longestSecret:
		return fmt.Errorf("%s %w", e.value, errSecretFile)
	}
	data, err := os.ReadFile(e.value)
	if err != nil {
		return fmt.Errorf("%s %w", e.value, readError(err))
	}
	value := strings.TrimRight(string(data), "\r\n")
	if value == "" || strings.ContainsAny(value, "\r\n") {
		return fmt.Errorf("%s %w", e.value, errSecretFile)
	}
	if info.Mode()&0o044 != 0 {
		r.notice(e.place, "cluster-secret-file: others than its owner may read %s: chmod 600 keeps the secret a secret", e.value)
	}
	r.config.Cluster.Secret = value
	return nil
}

var errSecretFile = errors.New("must hold one line with the secret, and nothing else")

// judgeCluster tells what does not go together.
func (r *reader) judgeCluster() {
	c := r.config.Cluster
	if c.Bind == "" {
		for _, name := range []string{"cluster-advertise", "cluster-join", "cluster-expect", "cluster-role"} {
			if at, given := r.seen[name]; given {
				r.notice(at, "%s does nothing without cluster = IP:PORT: this is a cluster of one", name)
			}
		}
		return
	}
	if c.Expect == 0 && !c.Client {
		r.notice(r.seen["cluster"], "without cluster-expect this node waits for a cluster that others have begun")
	}
	if c.Expect == 2 {
		r.notice(r.seen["cluster-expect"], "cluster-expect = 2: when either node is lost, so are the lord and all writes; a third node, even one of valor 0, cures that")
	}
}
