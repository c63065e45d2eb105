package router

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// cookieVar is cookie[name]: the first cookie of that name that has a value.
func cookieVar(name string, s *Scope) Var {
	cookies := s.requestVar("HTTP_COOKIE")
	return func(r *Request) string { return item(cookies(r), ';', name) }
}

// queryVar is qs[name]: the first item of that name that has a value, as the client encoded it.
func queryVar(name string, s *Scope) Var {
	query := s.requestVar("QUERY_STRING")
	return func(r *Request) string { return item(query(r), '&', name) }
}

func item(text string, separator byte, name string) string {
	for len(text) > 0 {
		part := text
		if i := strings.IndexByte(text, separator); i >= 0 {
			part, text = text[:i], text[i+1:]
		} else {
			text = ""
		}
		if separator == ';' {
			part = strings.TrimSpace(part)
		}
		if len(part) > len(name)+1 && part[len(name)] == '=' && part[:len(name)] == name {
			return part[len(name)+1:]
		}
	}
	return ""
}

func mimeVar(name string, s *Scope) Var {
	file, types := s.requestVar(name), s.Types()
	return func(r *Request) string { return types.Of(file(r)) }
}

func timeVar(unit string, _ *Scope) Var {
	return func(*Request) string {
		switch unit {
		case "unix":
			return strconv.FormatInt(time.Now().Unix(), 10)
		case "micros":
			return strconv.FormatInt(time.Now().UnixMicro(), 10)
		}
		return ""
	}
}

// httpTimeVar is httptime[N], the date N seconds from now as HTTP writes it.
func httpTimeVar(seconds string, _ *Scope) Var {
	shift := time.Duration(Number(seconds)) * time.Second
	return func(*Request) string { return time.Now().Add(shift).UTC().Format(http.TimeFormat) }
}

func encodedVar(encode func(string) string) VarBuilder {
	return func(name string, s *Scope) Var {
		value := s.requestVar(name)
		return func(r *Request) string { return encode(value(r)) }
	}
}

func base64Text(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
func hexText(text string) string    { return fmt.Sprintf("%X", text) }
func upperText(text string) string  { return mapASCII(text, 'a', 'z') }
func lowerText(text string) string  { return mapASCII(text, 'A', 'Z') }

// mapASCII turns the letters of one case into the other, and leaves all other bytes.
func mapASCII(text string, from, to byte) string {
	out := []byte(text)
	for i, c := range out {
		if c >= from && c <= to {
			out[i] = c ^ 0x20
		}
	}
	return string(out)
}

// uwsgiVar is uwsgi[x]. There is one worker here, and no listen queue that we could see.
func uwsgiVar(name string, _ *Scope) Var {
	return func(r *Request) string {
		switch name {
		case "wid":
			return "1"
		case "pid":
			return strconv.Itoa(os.Getpid())
		case "uuid":
			return newUUID()
		case "status":
			return strconv.Itoa(r.Status())
		case "rtime":
			return strconv.FormatInt(time.Since(r.started).Microseconds(), 10)
		case "lq":
			return "0"
		case "rsize":
			return strconv.FormatInt(r.size, 10)
		case "sor":
			return strconv.FormatInt(r.started.UnixMicro(), 10)
		}
		return ""
	}
}

// newUUID is a random one (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // it never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
