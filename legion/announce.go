package legion

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// flags of an announcement.
type flags uint8

const (
	flagDraining  flags = 1 << iota // gives lordship up and takes none
	flagSuspended                   // its lord hook failed lately
	flagLord                        // rules, by its own clock
	flagStepped                     // stepped down: rules only if nobody else can
	flagLeaving                     // is about to end: not a member any more
)

// announcement is what a node says of itself to one legion.
type announcement struct {
	valor     uint32
	flags     flags
	vote      rawID  // the node it takes for the best
	epoch     uint64 // newest it knows
	left      time.Duration
	view      [8]byte // digest of the members it sees
	scrolls   uint32  // grows when the scroll changes
	scrollLen uint32
	digest    [16]byte // of the scroll
	scroll    []byte   // itself, if it is short
}

const (
	announceSize  = 4 + 1 + 16 + 8 + 4 + 8 + 4 + 4 + 16
	inlineScroll  = 512      // longer ones are fetched from their node
	maxScroll     = 64 << 10 // longer ones are refused in the ini
	maxValor      = 1<<32 - 1
	unitOfLeft    = time.Millisecond
	digestOfNone  = ""
	scrollRequest = 8 + 16 // legion, digest
)

func digest(scroll string) (d [16]byte) {
	if scroll != digestOfNone {
		sum := sha256.Sum256([]byte(scroll))
		copy(d[:], sum[:])
	}
	return d
}

func (a announcement) encode() []byte {
	b := make([]byte, 0, announceSize+len(a.scroll))
	b = binary.BigEndian.AppendUint32(b, a.valor)
	b = append(b, byte(a.flags))
	b = append(b, a.vote[:]...)
	b = binary.BigEndian.AppendUint64(b, a.epoch)
	b = binary.BigEndian.AppendUint32(b, uint32(max(a.left, 0)/unitOfLeft))
	b = append(b, a.view[:]...)
	b = binary.BigEndian.AppendUint32(b, a.scrolls)
	b = binary.BigEndian.AppendUint32(b, a.scrollLen)
	b = append(b, a.digest[:]...)
	if a.scrollLen <= inlineScroll {
		b = append(b, a.scroll...)
	}
	return b
}

// decodeAnnouncement reads the clear text. What follows the scroll belongs to later versions and is left alone.
func decodeAnnouncement(b []byte) (a announcement, ok bool) {
	if len(b) < announceSize {
		return announcement{}, false
	}
	a.valor = binary.BigEndian.Uint32(b)
	a.flags = flags(b[4])
	a.vote = rawID(b[5:21])
	a.epoch = binary.BigEndian.Uint64(b[21:])
	a.left = time.Duration(binary.BigEndian.Uint32(b[29:])) * unitOfLeft
	a.view = [8]byte(b[33:41])
	a.scrolls = binary.BigEndian.Uint32(b[41:])
	a.scrollLen = binary.BigEndian.Uint32(b[45:])
	a.digest = [16]byte(b[49:65])
	if a.scrollLen > maxScroll {
		return announcement{}, false
	}
	if a.scrollLen <= inlineScroll {
		rest := b[announceSize:]
		if uint32(len(rest)) < a.scrollLen {
			return announcement{}, false
		}
		a.scroll = rest[:a.scrollLen]
	}
	return a, true
}

// viewHash is a short digest of who is here with which valor, to show on a dashboard who sees something else.
func viewHash(members []Member) (h [8]byte) {
	lines := make([]string, 0, len(members))
	for _, m := range members {
		if m.live() {
			lines = append(lines, m.ID+string(binary.BigEndian.AppendUint32(nil, uint32(m.Valor))))
		}
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	copy(h[:], sum[:])
	return h
}
