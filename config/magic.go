package config

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// magic gives the values of %x: facts of the file that is being read, and of the machine.
type magic struct {
	given   string // path as it was given
	path    string // the same, absolute
	section string
	start   time.Time
}

func newMagic(file, section string) magic {
	path, err := filepath.Abs(file)
	if err != nil {
		path = file
	}
	return magic{given: file, path: path, section: section, start: time.Now()}
}

// expand replaces each %x of a line. %% is a percent sign and "%(" is left for the placeholders. Any other
// pair vanishes, as in uWSGI; vanished says so for each, since it is rarely what was meant.
func (m magic) expand(line string) (out string, vanished []string) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(line, "%")
		b.WriteString(before)
		if !found {
			return b.String(), vanished
		}
		if after == "" { // uWSGI would swallow the line break, and with it the next line
			b.WriteByte('%')
			return b.String(), append(vanished, "% at the end of a line is kept here; write %% for a percent sign")
		}
		value, known := m.value(after[0])
		if !known {
			vanished = append(vanished, fmt.Sprintf("%q is no magic variable and vanishes; write %%%% for a percent sign", "%"+after[:1]))
		}
		b.WriteString(value)
		line = after[1:]
	}
}

// value gives the value of one magic letter. The letters in upper case name the first file that was
// opened, which is this one until a file can include others.
func (m magic) value(letter byte) (value string, known bool) {
	switch letter {
	case '%':
		return "%", true
	case '(':
		return "%(", true
	case '[':
		return "\x1b", true
	case 'o', 'O':
		return m.given, true
	case 'p', 'P':
		return m.path, true
	case 's', 'S':
		return filepath.Base(m.path), true
	case 'd', 'D':
		return strings.TrimSuffix(filepath.Dir(m.path), "/") + "/", true
	case 'e', 'E':
		return strings.TrimPrefix(filepath.Ext(m.path), "."), true
	case 'n', 'N':
		base := filepath.Base(m.path)
		return strings.TrimSuffix(base, filepath.Ext(base)), true
	case 'c', 'C':
		return filepath.Base(filepath.Dir(m.path)), true
	case 'x', 'X':
		return m.section, true
	}
	if letter >= '0' && letter <= '9' {
		parts := strings.Split(strings.Trim(m.path, "/"), "/")
		if n := int(letter - '0'); n < len(parts) {
			return parts[n], true
		}
		return "", true
	}
	return m.machine(letter)
}

// machine gives the letters that tell of the machine and of this process.
func (m magic) machine(letter byte) (value string, known bool) {
	switch letter {
	case 'v':
		value, _ = os.Getwd()
	case 'h':
		value, _ = os.Hostname()
	case 'b':
		value, _ = os.Executable()
	case 'k':
		value = strconv.Itoa(runtime.NumCPU())
	case 't':
		value = strconv.FormatInt(m.start.Unix(), 10)
	case 'T':
		value = strconv.FormatInt(m.start.UnixMicro(), 10)
	case 'u':
		value = strconv.Itoa(os.Getuid())
	case 'g':
		value = strconv.Itoa(os.Getgid())
	case 'U':
		if u, err := user.Current(); err == nil {
			value = u.Username
		}
	case 'G':
		if g, err := user.LookupGroupId(strconv.Itoa(os.Getgid())); err == nil {
			value = g.Name
		}
	default:
		return "", false
	}
	return value, true
}
