package config

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"
)

// parseFlag reads a yes or no as uWSGI does: anything but these words is a yes, nothing at all too.
func parseFlag(s string) bool {
	switch strings.ToLower(s) {
	case "false", "off", "no", "0":
		return false
	}
	return true
}

func parseCount(s string, least, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q is not a number from %d to %d", s, least, most)
	}
	return n, nil
}

// longestTime keeps sums of times far away from the end of the numbers.
const longestTime = 10 * 365 * 24 * time.Hour

// parseTime reads seconds as uWSGI writes them, 5 or 0.5, or a time with its unit, 500ms or 1m30s.
func parseTime(s string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(s, 64); err == nil {
		if seconds >= 0 && seconds <= longestTime.Seconds() {
			return time.Duration(math.Round(seconds * float64(time.Second))), nil
		}
	} else if d, err := time.ParseDuration(s); err == nil && d >= 0 && d <= longestTime {
		return d, nil
	}
	return 0, fmt.Errorf("%q is not a time: write seconds as 5, or 5s, 500ms, 1m", s)
}

// parseSize reads bytes, or KiB, MiB with the suffix K or M.
func parseSize(s string, most int) (int, error) {
	digits, unit := s, 1
	switch {
	case strings.HasSuffix(s, "K"), strings.HasSuffix(s, "k"):
		digits, unit = s[:len(s)-1], 1<<10
	case strings.HasSuffix(s, "M"), strings.HasSuffix(s, "m"):
		digits, unit = s[:len(s)-1], 1<<20
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > most/unit {
		return 0, fmt.Errorf("%q is not a size from 1 to %d bytes: write 8, 64K or 1M", s, most)
	}
	return n * unit, nil
}

// parseFraction reads 0.01 or 1%.
func parseFraction(s string) (float64, error) {
	digits, unit := s, 1.0
	if strings.HasSuffix(s, "%") {
		digits, unit = s[:len(s)-1], 100
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(f >= 0 && f/unit < 1) {
		return 0, fmt.Errorf("%q is not a share: write 0.01 or 1%%", s)
	}
	return f / unit, nil
}

// checkHostPort refuses what is not HOST:PORT. An empty host is fine where emptyHost says so.
func checkHostPort(s string, emptyHost bool) error {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" && !emptyHost || strings.ContainsAny(host, " \t/") {
		want := "HOST:PORT, such as 10.0.0.1:7400"
		if emptyHost {
			want = "HOST:PORT or :PORT"
		}
		return fmt.Errorf("%q is no address: write %s", s, want)
	}
	return nil
}

type pair struct{ key, value string }

// parsePairs reads k=v,k=v: a backslash takes the next character as it is, only the first = splits.
func parsePairs(s string) ([]pair, error) {
	var pairs []pair
	for _, item := range splitCommas(s) {
		key, value, found := strings.Cut(item, "=")
		key = strings.TrimSpace(key)
		switch {
		case key == "" && !found:
			continue // a comma at the end
		case !found:
			return nil, fmt.Errorf("%s has no value: write NAME=VALUE, with commas between", quoteName(key))
		}
		pairs = append(pairs, pair{key, strings.TrimSpace(value)})
	}
	return pairs, nil
}

func splitCommas(s string) []string {
	var items []string
	var item strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			item.WriteByte(s[i])
		case s[i] == ',':
			items = append(items, item.String())
			item.Reset()
		default:
			item.WriteByte(s[i])
		}
	}
	return append(items, item.String())
}

// cutWord takes the first word off s.
func cutWord(s string) (word, rest string) {
	s = strings.Trim(s, " \t")
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.Trim(s[i:], " \t")
}

// nearest gives the name that is most like word, if one is so near that word looks misspelt. Of names that
// are equally near the first one counts.
func nearest(word string, names []string) (name string, found bool) {
	if len(word) < 6 || len(word) > 64 {
		return "", false
	}
	best := 3
	for _, n := range names {
		if d := distance(word, n, best); d < best {
			name, best = n, d
		}
	}
	return name, best < 3
}

// distance counts the letters to insert, drop or replace between a and b; limit or more is limit.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return min(row[len(b)], limit)
}
