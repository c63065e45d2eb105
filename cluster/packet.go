package cluster

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
)

// A sealed packet: version, the sender's salt, a counter, then AES-256-GCM over the content with the
// version and the salt as additional data. Each process draws a salt and seals with a key of its own made
// from it, counting nonces: no nonce is ever used twice, however many nodes send for however long, which
// random nonces under one shared key could not promise.
const (
	packetVersion  = 1
	saltSize       = 16
	counterSize    = 8
	packetHead     = 1 + saltSize + counterSize
	packetOverhead = packetHead + 16 // the tag
)

// openers is how many senders' keys are kept at hand.
const openers = 256

var errSealed = errors.New("the packet is of another secret")

// packetSeal seals what this process sends and opens what others sealed with the same secret, or with the
// old one.
type packetSeal struct {
	keys *Keys

	mu      sync.Mutex
	salt    [saltSize]byte
	counter uint64
	own     cipher.AEAD
	known   map[[saltSize]byte]cipher.AEAD // of senders that have proved themselves
}

func newPacketSeal(keys *Keys) *packetSeal {
	s := &packetSeal{keys: keys, known: map[[saltSize]byte]cipher.AEAD{}}
	_, _ = rand.Read(s.salt[:])
	s.own = packetCipher(keys.now, s.salt)
	return s
}

func packetCipher(set *keySet, salt [saltSize]byte) cipher.AEAD {
	key, err := hkdf.Key(sha256.New, set.packet, salt[:], "cohort packet sender", 32)
	if err != nil {
		panic("cluster: HKDF refused 32 bytes: " + err.Error())
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("cluster: AES refused a 32 byte key: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("cluster: GCM refused AES: " + err.Error())
	}
	return aead
}

// seal appends the sealed packet to dst.
func (s *packetSeal) seal(dst, content []byte) []byte {
	s.mu.Lock()
	s.counter++
	n := s.counter
	s.mu.Unlock()
	start := len(dst)
	dst = append(dst, packetVersion)
	dst = append(dst, s.salt[:]...)
	dst = binary.BigEndian.AppendUint64(dst, n)
	var nonce [12]byte
	binary.BigEndian.PutUint64(nonce[4:], n)
	return s.own.Seal(dst, nonce[:], content, dst[start:start+1+saltSize])
}

// open returns the content of a sealed packet in new memory. A packet may come twice: memberlist numbers
// what matters, and announcements carry a sequence of their own.
func (s *packetSeal) open(packet []byte) ([]byte, error) {
	if len(packet) < packetOverhead || packet[0] != packetVersion {
		return nil, errSealed
	}
	salt := [saltSize]byte(packet[1:])
	var nonce [12]byte
	copy(nonce[4:], packet[1+saltSize:packetHead])
	s.mu.Lock()
	aead := s.known[salt]
	s.mu.Unlock()
	if aead != nil {
		content, err := aead.Open(nil, nonce[:], packet[packetHead:], packet[:1+saltSize])
		if err != nil {
			return nil, errSealed
		}
		return content, nil
	}
	for _, set := range s.keys.sets() {
		aead := packetCipher(set, salt)
		if content, err := aead.Open(nil, nonce[:], packet[packetHead:], packet[:1+saltSize]); err == nil {
			s.remember(salt, aead)
			return content, nil
		}
	}
	return nil, errSealed
}

// remember keeps a sender's key, at the cost of some other sender when there are too many.
func (s *packetSeal) remember(salt [saltSize]byte, aead cipher.AEAD) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= openers {
		for other := range s.known {
			delete(s.known, other)
			break
		}
	}
	s.known[salt] = aead
}
