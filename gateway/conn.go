package gateway

import (
	"bytes"
	"io"
	"net"
	"net/http"
)

// conn is a client's connection. It exists to put the text behind the status that a rule asks for, which
// net/http does not let one choose: break:403 Not Today.
//
// On one connection net/http serves one request after the other, so conn needs no lock: the handler sets the
// phrase before it writes the head, and the head goes out before the next request begins.
type conn struct {
	net.Conn
	phrase string // for the next status line; "" leaves it
	out    writer
}

// Write exchanges the phrase in the status line that p begins with, if one is to be exchanged.
func (c *conn) Write(p []byte) (int, error) {
	if c.phrase == "" || !bytes.HasPrefix(p, []byte("HTTP/1.")) {
		return c.Conn.Write(p)
	}
	const upToStatus = len("HTTP/1.1 200")
	end := bytes.Index(p, []byte("\r\n"))
	if end < upToStatus {
		return c.Conn.Write(p)
	}
	if bytes.Equal(p[9:upToStatus], []byte("100")) { // 100 Continue; the answer is still to come
		return c.Conn.Write(p)
	}
	line := append(append(append([]byte{}, p[:upToStatus]...), ' '), c.phrase...)
	c.phrase = ""
	buffers := net.Buffers{line, p[end:]}
	n, err := buffers.WriteTo(c.Conn)
	if err != nil {
		return 0, err
	}
	return int(n) - len(line) + end, nil
}

// ReadFrom lets net/http send files without reading them. The head has gone out before.
func (c *conn) ReadFrom(src io.Reader) (int64, error) {
	return io.Copy(c.Conn, src)
}

// CloseWrite lets net/http end a connection such that the client still reads the answer.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// wrapper makes a conn of each connection.
type wrapper struct{ net.Listener }

func (l wrapper) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

// writer is net/http's ResponseWriter, with a phrase. There is one in each conn, used again and again.
type writer struct {
	http.ResponseWriter
	conn *conn
}

// SetPhrase says what stands behind the status of this answer. What would end the line is taken out.
func (w *writer) SetPhrase(phrase string) {
	clean := []byte(phrase)
	for i, b := range clean {
		if b < ' ' || b == 0x7f {
			clean[i] = ' '
		}
	}
	w.conn.phrase = string(clean)
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteString saves a copy of the text.
func (w *writer) WriteString(text string) (int, error) { return io.WriteString(w.ResponseWriter, text) }

// ReadFrom lets net/http send files without reading them.
func (w *writer) ReadFrom(src io.Reader) (int64, error) { return io.Copy(w.ResponseWriter, src) }
