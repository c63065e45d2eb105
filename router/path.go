package router

import "strings"

// pathInfo makes PATH_INFO of the path part of a request line as proto/http.c does: cut at a fragment,
// percent-decoded, "." and ".." resolved where they are spelt plainly, and never above the root. Two slashes
// stay two. Unlike uWSGI, ".." at the root leaves "/", not the empty text, which no rule expects.
func pathInfo(raw string) string {
	if !strings.ContainsAny(raw, "%#") && !strings.Contains(raw, "/.") {
		return raw
	}
	raw, _, _ = strings.Cut(raw, "#")
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		var part string
		if slash := strings.IndexByte(raw[1:], '/'); slash >= 0 {
			part, raw = raw[:slash+1], raw[slash+1:]
		} else {
			part, raw = raw, ""
		}
		// part is a slash and what follows it; the first one may lack the slash.
		switch part {
		case "/.":
			if raw == "" {
				out = append(out, '/')
			}
		case "/..":
			out = out[:max(strings.LastIndexByte(string(out), '/'), 0)]
			if raw == "" {
				out = append(out, '/')
			}
		default:
			out = appendDecoded(out, part)
		}
	}
	return string(out)
}

// appendDecoded takes a percent sign that is not followed by two hexadecimal digits as it is.
func appendDecoded(out []byte, text string) []byte {
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]) {
			out = append(out, unHex(text[i+1])<<4|unHex(text[i+2]))
			i += 2
			continue
		}
		out = append(out, text[i])
	}
	return out
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unHex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}

// splitTarget takes a request target apart. A client may write a whole URL; rules see the same as if it had
// written the path alone, so that no rule can be walked around that way.
func splitTarget(target string) (path, query string) {
	path, query, _ = strings.Cut(originForm(target), "?")
	return path, query
}

func originForm(target string) string {
	if strings.HasPrefix(target, "/") || target == "*" {
		return target
	}
	_, rest, ok := strings.Cut(target, "://")
	if !ok {
		return "/" // CONNECT host:port
	}
	i := strings.IndexAny(rest, "/?")
	switch {
	case i < 0:
		return "/"
	case rest[i] == '?':
		return "/" + rest[i:]
	}
	return rest[i:]
}
