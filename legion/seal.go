package legion

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	//lint:ignore SA1019 Blowfish is the legion's cipher by name; each key seals gossip only, and a MAC guards it
	"golang.org/x/crypto/blowfish"
)

// A sealed announcement, version 2 (uWSGI's own is version 1), all numbers big endian:
//
//	version 2 | legion 8 | node 16 | boot 8 | sequence 6 | Blowfish-CTR ciphertext | HMAC-SHA256 16
//
// legion is a keyed hash of the name. Each boot of each node has its own keys, so the counter block, sequence (48 bits)
// then block number (16 bits), never repeats under one. The MAC covers all before it and is checked before anything else.
const (
	sealVersion  = 2
	headerSize   = 1 + 8 + 16 + 8 + 6
	macSize      = 16
	maxSequence  = 1<<48 - 1
	maxSealed    = 4096 // an announcement is far smaller; the block number would bear 512 KiB
	blowfishKey  = 56
	sealMACKey   = 32
	saltSecret   = "cohort legion 2"
	infoLegion   = "legion\x00"
	infoAnnounce = "announcement\x00"
)

// refusal says why a message was not taken.
type refusal uint8

const (
	taken     refusal = iota
	foreign           // another legion's, or sealed with another secret
	malformed         // too short, too long, or not understood
	badSeal           // the MAC is wrong
	oldBoot           // from a boot before the one known
	oldNews           // this one or a later one of the same boot is known
)

// legionKeys is what one secret makes of one legion.
type legionKeys struct {
	prk []byte
	id  [8]byte
}

func newLegionKeys(secret, name string) legionKeys {
	prk, err := hkdf.Extract(sha256.New, []byte(secret), []byte(saltSecret))
	if err != nil {
		panic("legion: " + err.Error()) // only for a hash that FIPS mode forbids
	}
	k := legionKeys{prk: prk}
	h := hmac.New(sha256.New, prk)
	h.Write([]byte(infoLegion + name))
	copy(k.id[:], h.Sum(nil))
	return k
}

// bootKeys seals or opens what one boot of one node announces.
type bootKeys struct {
	secret, mac []byte
	block       cipher.Block // nil until the first use: Blowfish's key setup is slow and comes after the MAC
}

// derive takes the header's legion, node and boot, as they stand there.
func (k legionKeys) derive(who []byte) *bootKeys {
	out, err := hkdf.Expand(sha256.New, k.prk, infoAnnounce+string(who), blowfishKey+sealMACKey)
	if err != nil {
		panic("legion: " + err.Error())
	}
	return &bootKeys{secret: out[:blowfishKey], mac: out[blowfishKey:]}
}

func (k *bootKeys) sum(b []byte) []byte {
	h := hmac.New(sha256.New, k.mac)
	h.Write(b)
	return h.Sum(nil)[:macSize]
}

func (k *bootKeys) crypt(b, sequence []byte) {
	if k.block == nil {
		block, err := blowfish.NewCipher(k.secret)
		if err != nil {
			panic("legion: " + err.Error()) // 56 bytes are always right
		}
		k.block = block
	}
	var counter [blowfish.BlockSize]byte
	copy(counter[:6], sequence)
	cipher.NewCTR(k.block, counter[:]).XORKeyStream(b, b)
}

// sealer seals this boot's announcements.
type sealer struct {
	head [headerSize]byte
	keys *bootKeys
	seq  uint64
}

func newSealer(k legionKeys, node rawID, boot uint64) *sealer {
	s := &sealer{}
	s.head[0] = sealVersion
	copy(s.head[1:], k.id[:])
	copy(s.head[9:], node[:])
	binary.BigEndian.PutUint64(s.head[25:], boot)
	s.keys = k.derive(s.head[1:33])
	return s
}

var errSequence = errors.New("legion: sequence used up")

func (s *sealer) seal(clear []byte) ([]byte, error) {
	if s.seq >= maxSequence {
		return nil, errSequence // nine million years of announcements a second
	}
	s.seq++
	putUint48(s.head[33:], s.seq)
	b := make([]byte, 0, headerSize+len(clear)+macSize)
	b = append(append(b, s.head[:]...), clear...)
	s.keys.crypt(b[headerSize:], s.head[33:])
	return append(b, s.keys.sum(b)...), nil
}

func putUint48(b []byte, v uint64) {
	binary.BigEndian.PutUint16(b, uint16(v>>32))
	binary.BigEndian.PutUint32(b[2:], uint32(v))
}

func uint48(b []byte) uint64 {
	return uint64(binary.BigEndian.Uint16(b))<<32 | uint64(binary.BigEndian.Uint32(b[2:]))
}

// opened is who sealed a message, and what was in it.
type opened struct {
	node      rawID
	boot, seq uint64
	clear     []byte
}

// opener opens everybody's announcements of one legion. It remembers each node's newest, so none is taken twice.
type opener struct {
	secrets []legionKeys // the one in use first
	peers   map[rawID]*known
}

type known struct {
	boot, seq uint64
	secret    [8]byte // the legion id, which tells the secret
	keys      *bootKeys
}

func newOpener(secrets ...legionKeys) *opener {
	return &opener{secrets: secrets, peers: map[rawID]*known{}}
}

func (o *opener) keysFor(id [8]byte) (legionKeys, bool) {
	for _, k := range o.secrets {
		if k.id == id {
			return k, true
		}
	}
	return legionKeys{}, false
}

func (o *opener) open(msg []byte) (opened, refusal) {
	if len(msg) < headerSize+macSize || len(msg) > maxSealed || msg[0] != sealVersion {
		return opened{}, malformed
	}
	id := [8]byte(msg[1:9])
	secret, ok := o.keysFor(id)
	if !ok {
		return opened{}, foreign
	}
	node, boot, seq := rawID(msg[9:25]), binary.BigEndian.Uint64(msg[25:]), uint48(msg[33:])
	peer := o.peers[node]
	var keys *bootKeys
	if peer != nil && peer.boot == boot && peer.secret == id {
		keys = peer.keys
	} else {
		keys = secret.derive(msg[1:33])
	}
	end := len(msg) - macSize
	if !hmac.Equal(keys.sum(msg[:end]), msg[end:]) {
		return opened{}, badSeal
	}
	if peer != nil {
		// The upper half of a boot id is a counter in the node's data directory, the lower half is random.
		if boot != peer.boot && boot>>32 <= peer.boot>>32 {
			return opened{}, oldBoot
		}
		if boot == peer.boot && seq <= peer.seq {
			return opened{}, oldNews
		}
	}
	o.peers[node] = &known{boot: boot, seq: seq, secret: id, keys: keys}
	clear := append([]byte(nil), msg[headerSize:end]...)
	keys.crypt(clear, msg[33:39])
	return opened{node: node, boot: boot, seq: seq, clear: clear}, taken
}
