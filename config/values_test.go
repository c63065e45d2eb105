package config

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseFlag(t *testing.T) {
	for value, want := range map[string]bool{
		"": true, "true": true, "1": true, "disabled": true, "enabled": true, "2": true,
		"false": false, "OFF": false, "No": false, "0": false,
	} {
		if got := parseFlag(value); got != want {
			t.Errorf("parseFlag(%q) = %v, want %v", value, got, want)
		}
	}
}

func TestParseTime(t *testing.T) {
	const wrong = -1
	for value, want := range map[string]time.Duration{
		"5": 5 * time.Second, "5s": 5 * time.Second, "500ms": 500 * time.Millisecond, "0.5": 500 * time.Millisecond,
		"1m30s": 90 * time.Second, "0": 0, "0s": 0,
		"": wrong, "-1": wrong, "-1s": wrong, "5 s": wrong, "soon": wrong, "1e300": wrong, "nan": wrong, "inf": wrong, "999999h": wrong,
	} {
		got, err := parseTime(value)
		if err != nil {
			got = wrong
		}
		if got != want {
			t.Errorf("parseTime(%q) = %v, %v, want %v", value, got, err, want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for value, want := range map[string]int{
		"8": 8, "64K": 65536, "64k": 65536, "1M": 1 << 20, "1m": 1 << 20,
		"": 0, "0": 0, "-1": 0, "K": 0, "1G": 0, "1.5M": 0, "2M": 0, "9999999999999999999": 0, "9007199254740993M": 0,
	} {
		if got, err := parseSize(value, 1<<20); got != want || (err == nil) != (want != 0) {
			t.Errorf("parseSize(%q) = %d, %v, want %d", value, got, err, want)
		}
	}
}

func TestParseFraction(t *testing.T) {
	for value, want := range map[string]float64{"0.01": 0.01, "1%": 0.01, "0": 0, "": -1, "1": -1, "100%": -1, "-1%": -1, "nan": -1} {
		got, err := parseFraction(value)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("parseFraction(%q) = %v, %v, want %v", value, got, err, want)
		}
	}
}

func TestParsePairs(t *testing.T) {
	for value, want := range map[string][]pair{
		"a=1,b=2":       {{"a", "1"}, {"b", "2"}},
		"a=1\\,2,b=x=y": {{"a", "1,2"}, {"b", "x=y"}},
		" a = 1 , b=":   {{"a", "1"}, {"b", ""}},
		"a=1,":          {{"a", "1"}},
		"a=\\":          {{"a", "\\"}},
		"":              nil,
		"a":             nil,
	} {
		if got, err := parsePairs(value); !slices.Equal(got, want) || (err != nil) != (value == "a") {
			t.Errorf("parsePairs(%q) = %q, %v, want %q", value, got, err, want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"cluster-join", "stats-server", "legion", "cache2"}
	for word, want := range map[string]string{
		"cluster-join": "cluster-join", "clustr-join": "cluster-join", "cluster-jion": "cluster-join", "cluster_join": "cluster-join",
		"clustr-jn": "", "legins": "legion", "legio": "", "cache22": "cache2", "somewhere": "",
	} {
		if got, found := nearest(word, names); got != want || found != (want != "") {
			t.Errorf("nearest(%q) = %q, %v, want %q", word, got, found, want)
		}
	}
}

// distance is a distance: nothing between equal words, the same both ways, and at most one for each edit.
func TestDistance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.StringMatching(`[ab-]{0,8}`)
		a, b := letters.Draw(t, "a"), letters.Draw(t, "b")
		d := distance(a, b, 100)
		if d != distance(b, a, 100) || (d == 0) != (a == b) || distance(a, b, 3) != min(d, 3) {
			t.Fatalf("distance(%q, %q) = %d, backwards %d, limited %d", a, b, d, distance(b, a, 100), distance(a, b, 3))
		}
		if e := distance(a, b+"x", 100); e < d-1 || e > d+1 {
			t.Fatalf("distance(%q, %q) = %d, with a letter more %d", a, b, d, e)
		}
	})
}
