package config

import "testing"

func TestDefaultQuorum(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	for name, tt := range map[string]struct {
		args []string
		want int
	}{
		"alone":                  {nil, 1},
		"three nodes":            {[]string{"--cluster", "127.0.0.1:7400", "--cluster-expect", "3"}, 2},
		"five nodes":             {[]string{"--cluster", "127.0.0.1:7400", "--cluster-expect", "5"}, 3},
		"as the ini says":        {[]string{"--cluster", "127.0.0.1:7400", "--cluster-expect", "3", "--legion-quorum", "l 1"}, 1},
		"0 is as ever":           {[]string{"--cluster", "127.0.0.1:7400", "--cluster-expect", "3", "--legion-quorum", "l 0"}, 2},
		"a node that only joins": {[]string{"--cluster", "127.0.0.1:7400"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := Load("", append([]string{"--legion", "l 100 bf-cbc:abc"}, tt.args...), none)
			if err != nil {
				t.Fatal(err)
			}
			if got := cfg.Legions[0].Quorum; got != tt.want {
				t.Errorf("quorum %d, want %d", got, tt.want)
			}
		})
	}
}
