package router

import (
	"fmt"
	"strconv"
	"strings"
)

// Phrase is the text that uWSGI sends with a status; a status it has no text for is Unknown.
func Phrase(status int) string {
	if p, ok := phrases[status]; ok {
		return p
	}
	return "Unknown"
}

// phrases is the table of core/protocol.c, read off its answers. Some are older than net/http's.
var phrases = map[int]string{
	100: "Continue",
	101: "Switching Protocols",
	200: "OK",
	201: "Created",
	202: "Accepted",
	203: "Non-Authoritative Information",
	204: "No Content",
	205: "Reset Content",
	206: "Partial Content",
	300: "Multiple Choices",
	301: "Moved Permanently",
	302: "Found",
	303: "See Other",
	304: "Not Modified",
	305: "Use Proxy",
	307: "Temporary Redirect",
	308: "Permanent Redirect",
	400: "Bad Request",
	401: "Unauthorized",
	402: "Payment Required",
	403: "Forbidden",
	404: "Not Found",
	405: "Method Not Allowed",
	406: "Not Acceptable",
	407: "Proxy Authentication Required",
	408: "Request Timeout",
	409: "Conflict",
	410: "Gone",
	411: "Length Required",
	412: "Precondition Failed",
	413: "Request Entity Too Large",
	414: "Request-URI Too Long",
	415: "Unsupported Media Type",
	416: "Requested Range Not Satisfiable",
	417: "Expectation Failed",
	418: "I'm a teapot",
	422: "Unprocessable Entity",
	425: "Too Early",
	426: "Upgrade Required",
	428: "Precondition Required",
	429: "Too Many Requests",
	431: "Request Header Fields Too Large",
	451: "Unavailable For Legal Reasons",
	500: "Internal Server Error",
	501: "Not Implemented",
	502: "Bad Gateway",
	503: "Service Unavailable",
	504: "Gateway Timeout",
	505: "HTTP Version Not Supported",
	507: "Insufficient Storage",
	509: "Bandwidth Limit Exceeded",
	511: "Network Authentication Required",
}

// ParseStatus reads "403" or "403 Not For You". A status below 200 does not end a request and is refused.
func ParseStatus(text string) (status int, phrase string, err error) {
	code, phrase, _ := strings.Cut(text, " ")
	status, err = strconv.Atoi(code)
	if err != nil || len(code) != 3 || status < 200 {
		return 0, "", fmt.Errorf("%q is not a status: it has three digits, from 200 on", text)
	}
	if phrase == "" {
		phrase = Phrase(status)
	}
	return status, phrase, nil
}
