package router

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Request is what rules see: the request's variables, and the answer under construction. It serves one
// request at a time and is used again afterwards, so nothing may keep it beyond that.
type Request struct {
	HTTP *http.Request

	router  *Router
	started time.Time
	vars    []variable // what rules added; of two with one name the later counts
	path    string     // PATH_INFO, once pathKnown
	known   bool
	match   match  // groups of the running rule
	where   string // file:line of the running rule
	target  int    // where goto: goes
	buf     []byte
	logVars []variable
	quiet   bool // donotlog:

	answer
}

// variable is a name and its value.
type variable struct{ name, value string }

// Context ends when the client is gone or the gateway stops.
func (r *Request) Context() context.Context { return r.HTTP.Context() }

// begin makes r ready for the next request.
func (r *Request) begin(t *Router, w http.ResponseWriter, req *http.Request) {
	r.router, r.HTTP, r.started = t, req, time.Now()
	r.answer.begin(w)
}

// reset lets go of everything that belongs to the request, and keeps the room it took, unless that is big.
func (r *Request) reset() {
	const keep = 4 << 10
	vars, logVars, buf := r.vars, r.logVars, r.buf
	clear(vars)
	clear(logVars)
	if cap(buf) > keep {
		buf = nil
	}
	held := r.answer.room()
	*r = Request{vars: vars[:0], logVars: logVars[:0], buf: buf[:0], answer: held}
}

// AddVar gives the request one more variable. It hides an older one of the same name.
func (r *Request) AddVar(name, value string) {
	r.vars = append(r.vars, variable{name, value})
}

// Var is a variable by its CGI name: REMOTE_ADDR, HTTP_COOKIE, or what a rule added.
func (r *Request) Var(name string) (value string, ok bool) {
	return r.lookup(name, baseVar(name))
}

func (r *Request) lookup(name string, base baseFunc) (string, bool) {
	for i := len(r.vars) - 1; i >= 0; i-- {
		if r.vars[i].name == name {
			return r.vars[i].value, true
		}
	}
	if base == nil {
		return "", false
	}
	return base(r)
}

// baseFunc computes a variable from the request as it came.
type baseFunc func(*Request) (value string, ok bool)

// baseVar finds how to compute the variable, or nil. They are computed when a rule asks, since most requests
// are decided by two or three of them.
func baseVar(name string) baseFunc {
	switch name {
	case "REQUEST_METHOD":
		return func(r *Request) (string, bool) { return r.HTTP.Method, true }
	case "REQUEST_URI":
		return func(r *Request) (string, bool) { return originForm(r.HTTP.RequestURI), true }
	case "PATH_INFO":
		return func(r *Request) (string, bool) { return r.pathInfo(), true }
	case "QUERY_STRING":
		return func(r *Request) (string, bool) {
			_, query := splitTarget(r.HTTP.RequestURI)
			return query, true
		}
	case "SERVER_PROTOCOL":
		return func(r *Request) (string, bool) { return r.HTTP.Proto, true }
	case "REMOTE_ADDR":
		return func(r *Request) (string, bool) {
			host, _ := splitHostPort(r.HTTP.RemoteAddr)
			return host, true
		}
	case "REMOTE_PORT":
		return func(r *Request) (string, bool) {
			_, port := splitHostPort(r.HTTP.RemoteAddr)
			return port, port != ""
		}
	case "SERVER_NAME":
		return func(r *Request) (string, bool) { return r.router.host, true }
	case "SERVER_PORT":
		return serverPort
	case "SCRIPT_NAME":
		return func(*Request) (string, bool) { return "", true }
	case "HTTPS":
		return func(r *Request) (string, bool) {
			if r.HTTP.TLS == nil {
				return "", false
			}
			return "on", true
		}
	case "HTTP_HOST":
		return func(r *Request) (string, bool) { return r.HTTP.Host, r.HTTP.Host != "" }
	case "CONTENT_TYPE":
		return headerVar("Content-Type")
	case "CONTENT_LENGTH":
		return headerVar("Content-Length")
	}
	switch field, ok := strings.CutPrefix(name, "HTTP_"); {
	case !ok, field != strings.ToUpper(field):
	case field == "CONTENT_TYPE", field == "CONTENT_LENGTH": // these have no prefix
	default:
		return headerVar(http.CanonicalHeaderKey(strings.ReplaceAll(field, "_", "-")))
	}
	return nil
}

// headerVar joins the lines of one header. Headers that a client spells with an underscore are not seen: they
// would hide behind those that a proxy in front of us sets.
func headerVar(field string) baseFunc {
	separator := ", "
	switch field {
	case "Content-Type", "Content-Length":
	case "Cookie":
		separator = "; "
	}
	return func(r *Request) (string, bool) {
		lines, ok := r.HTTP.Header[field]
		if !ok {
			return "", false
		}
		if len(lines) == 1 {
			return lines[0], true
		}
		return strings.Join(lines, separator), true
	}
}

// hostOrServer is what route-host looks at when no rule has set HTTP_HOST.
func hostOrServer(r *Request) (string, bool) {
	if r.HTTP.Host != "" {
		return r.HTTP.Host, true
	}
	return r.router.host, true
}

func (r *Request) pathInfo() string {
	if !r.known {
		path, _ := splitTarget(r.HTTP.RequestURI)
		r.path, r.known = pathInfo(path), true
	}
	return r.path
}

func serverPort(r *Request) (string, bool) {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(interface{ String() string })
	if !ok {
		return "", false
	}
	_, port := splitHostPort(addr.String())
	return port, port != ""
}

// splitHostPort is net.SplitHostPort without its errors: a client on a unix socket has no address, and is
// told as nginx does, so that a rule which counts by address has something to count.
func splitHostPort(addr string) (host, port string) {
	colon := strings.LastIndexByte(addr, ':')
	if colon < 0 {
		return "unix:", ""
	}
	host = addr[:colon]
	if strings.HasPrefix(host, "[") {
		host = strings.TrimSuffix(host[1:], "]")
	}
	return host, addr[colon+1:]
}
