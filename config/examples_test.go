package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// newcomers are the examples that run as they stand.
var newcomers = []string{"../examples/limiter.ini", "../examples/legion.ini"}

// Every example is right as it stands, says nothing odd, and forms a cluster of one.
func TestExamplesAlone(t *testing.T) {
	for _, file := range newcomers {
		c, err := Load(file, nil, func(string) (string, bool) { return "", false })
		if err != nil || len(c.Notices) > 0 {
			t.Errorf("Load(%s) = %v, notices %q", file, err, c.Notices)
		}
		if c.Cluster.Expect != 1 || c.Cluster.Bind != "127.0.0.1:7400" || !slices.Equal(c.Cluster.Join, []string{"127.0.0.1:7400"}) {
			t.Errorf("Load(%s) = cluster %+v, want one that begins alone", file, c.Cluster)
		}
	}
}

// The command lines that stand in an example's comments make three nodes of it.
func TestExamplesAsThreeNodes(t *testing.T) {
	for _, file := range newcomers {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var join string
		nodes := map[string]bool{}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(strings.TrimPrefix(line, ";"))
			if list, found := strings.CutPrefix(line, "J="); found {
				join = list
			}
			words, found := strings.CutPrefix(line, "cohort run examples/"+filepath.Base(file)+" ")
			if !found {
				continue
			}
			c, err := Load(file, strings.Fields(strings.ReplaceAll(words, "$J", join)), os.LookupEnv)
			if err != nil || c.Cluster.Expect != 3 || len(c.Cluster.Join) != 3 || !slices.Contains(c.Cluster.Join, c.Cluster.Bind) || len(c.Gateway.Listen) > 1 {
				t.Errorf("%s: %s = %+v, %v", file, words, c, err)
			}
			nodes[c.Node+" "+c.Cluster.Bind] = true
		}
		if len(nodes) != 3 {
			t.Errorf("%s shows the nodes %v, want three", file, nodes)
		}
	}
}

// The lines in comments that begin with an option are right too, when they are taken into use.
func TestExamplesComments(t *testing.T) {
	for _, file := range newcomers {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			option, found := strings.CutPrefix(strings.TrimSpace(line), ";")
			if !found || strings.HasPrefix(option, " ") || option == "" {
				continue
			}
			name, _, _ := strings.Cut(option, " =")
			r := newReader(nil)
			if _, ours := r.options[name]; !ours && known(name).class == unknown {
				t.Errorf("%s: %s is no option", file, option)
			}
		}
	}
}

// The file of docker-compose.yml gets its legion, and the test its secret, behind the file.
func TestExampleCompose(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load("../examples/compose.ini", []string{"--node", "n1", "--legion", "legion1 100 bf-cbc:abc", "--cluster-secret-file", secret}, os.LookupEnv)
	if err != nil || len(c.Notices) > 0 || len(c.Legions) != 1 || len(c.Daemons) != 1 || c.Daemons[0].Legion != "legion1" {
		t.Errorf("Load(compose.ini) = %+v, %v", c, err)
	}
}
