package router

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// Types gives the content type for a file extension, without its dot.
type Types map[string]string

// Of is the content type of a file name, or "". The extension is the last run of letters and digits after
// the last dot, as in core/mime.c.
func (t Types) Of(name string) string {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return ""
	}
	return t[name[dot+1:]]
}

// ReadTypes reads a file in the form of /etc/mime.types: a type, then its extensions.
func ReadTypes(path string) (Types, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read content types: %w", err)
	}
	defer f.Close()
	types := Types{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if words := strings.Fields(line); len(words) > 1 {
			for _, extension := range words[1:] {
				types[extension] = words[0]
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read content types: %s: %w", path, err)
	}
	return types, nil
}

// builtinTypes serves machines without /etc/mime.types, such as most containers.
func builtinTypes() Types {
	return Types{
		"avif": "image/avif", "bmp": "image/bmp", "gif": "image/gif", "ico": "image/vnd.microsoft.icon",
		"jpeg": "image/jpeg", "jpg": "image/jpeg", "png": "image/png", "svg": "image/svg+xml", "webp": "image/webp",
		"css": "text/css", "csv": "text/csv", "htm": "text/html", "html": "text/html", "md": "text/markdown",
		"txt": "text/plain", "vcf": "text/vcard", "ics": "text/calendar",
		"js": "text/javascript", "mjs": "text/javascript", "json": "application/json", "xml": "application/xml",
		"pdf": "application/pdf", "wasm": "application/wasm", "zip": "application/zip", "gz": "application/gzip",
		"mp3": "audio/mpeg", "ogg": "audio/ogg", "wav": "audio/x-wav", "mp4": "video/mp4", "webm": "video/webm",
		"ttf": "font/ttf", "woff": "font/woff", "woff2": "font/woff2",
	}
}
