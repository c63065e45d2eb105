package legion

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// Ticket is a Release of one epoch that its guardian may send when the node is dead (R23). It can do nothing else.
type Ticket struct {
	Legion, Node string
	Boot, Epoch  uint64
	Random       [32]byte
}

// A sealed ticket, numbers big endian:
//
//	version 1 | legion length 1, legion | node length 1, node | boot 8 | epoch 8 | random 32 | HMAC-SHA256 32
const (
	ticketVersion = 1
	ticketMAC     = sha256.Size
	maxTicket     = 1 + 2*256 + 8 + 8 + 32 + ticketMAC
	infoTicket    = "cohort release ticket\x00"
)

var (
	errTicket = errors.New("legion: not a release ticket")
	errLong   = errors.New("legion: name too long for a release ticket")
)

// NewTicket makes a ticket with a secret of its own.
func NewTicket(legion, node string, boot, epoch uint64) Ticket {
	t := Ticket{Legion: legion, Node: node, Boot: boot, Epoch: epoch}
	rand.Read(t.Random[:]) //nolint:errcheck // never fails
	return t
}

// Seal makes the bytes that the guardian keeps. key comes from the cluster's secret.
func (t Ticket) Seal(key []byte) ([]byte, error) {
	if len(t.Legion) > 255 || len(t.Node) > 255 {
		return nil, errLong
	}
	b := []byte{ticketVersion, byte(len(t.Legion))}
	b = append(append(b, t.Legion...), byte(len(t.Node)))
	b = append(b, t.Node...)
	b = binary.BigEndian.AppendUint64(b, t.Boot)
	b = binary.BigEndian.AppendUint64(b, t.Epoch)
	b = append(b, t.Random[:]...)
	return append(b, t.mac(key, b)...), nil
}

// mac is keyed for one boot of one node.
func (t Ticket) mac(key, b []byte) []byte {
	info := binary.BigEndian.AppendUint64([]byte(infoTicket+t.Node), t.Boot)
	k, err := hkdf.Key(sha256.New, key, nil, string(info), sha256.Size)
	if err != nil {
		panic("legion: " + err.Error())
	}
	h := hmac.New(sha256.New, k)
	h.Write(b)
	return h.Sum(nil)
}

// OpenTicket checks a sealed ticket against each key.
func OpenTicket(sealed []byte, keys ...[]byte) (Ticket, error) {
	if len(sealed) < ticketMAC || len(sealed) > maxTicket {
		return Ticket{}, errTicket
	}
	body, mac := sealed[:len(sealed)-ticketMAC], sealed[len(sealed)-ticketMAC:]
	t, ok := parseTicket(body)
	if !ok {
		return Ticket{}, errTicket
	}
	for _, key := range keys {
		if hmac.Equal(t.mac(key, body), mac) {
			return t, nil
		}
	}
	return Ticket{}, errTicket
}

func parseTicket(b []byte) (t Ticket, ok bool) {
	text := func() string {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			b = nil
			return ""
		}
		end := 1 + int(b[0])
		s := string(b[1:end])
		b = b[end:]
		return s
	}
	if len(b) == 0 || b[0] != ticketVersion {
		return t, false
	}
	b = b[1:]
	t.Legion = text()
	t.Node = text()
	if len(b) != 8+8+len(t.Random) {
		return t, false
	}
	t.Boot, t.Epoch = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	copy(t.Random[:], b[16:])
	return t, true
}
