package cluster

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// NewSecret makes a secret nobody can guess: 256 random bits in 43 characters.
func NewSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(b)
}

// Keys is what a secret gives: proof of membership on connections, and the seal of packets. It never
// changes and may be shared, by several nodes of one test too.
type Keys struct {
	now *keySet
	old *keySet // nil outside of a change of the secret
}

// keySet is what one secret gives.
type keySet struct {
	root   []byte
	packet []byte
	ca     *authority
}

// DeriveKeys makes the keys of a cluster. It works for about a tenth of a second and in 64 MiB, so that
// guessing is slow: do it once. An empty secret gives keys that everybody has; Config.Check lets it pass on
// loopback addresses only.
//
// A secret is changed in three rounds over all nodes, each node being restarted in its turn: first secret
// = old, second = new, so that everybody accepts both; then the other way round, so that everybody shows
// the new one; then the new one alone.
func DeriveKeys(secret, oldSecret, clusterName string) (*Keys, error) {
	if clusterName == "" {
		clusterName = "cohort"
	}
	now, err := deriveSet(secret, clusterName)
	if err != nil {
		return nil, err
	}
	k := &Keys{now: now}
	if oldSecret != "" && oldSecret != secret {
		if k.old, err = deriveSet(oldSecret, clusterName); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func deriveSet(secret, clusterName string) (*keySet, error) {
	// RFC 9106, section 4: the second recommended parameter set.
	root := argon2.IDKey([]byte(secret), []byte("cohort cluster 1\x00"+clusterName), 3, 64<<10, 4, 32)
	s := &keySet{root: root}
	s.packet = s.derive("packets")
	var err error
	if s.ca, err = newAuthority(s.derive("certificates")); err != nil {
		return nil, fmt.Errorf("derive the cluster's keys: %w", err)
	}
	return s, nil
}

// derive makes a 32 byte key for one purpose.
func (s *keySet) derive(info string) []byte {
	key, err := hkdf.Expand(sha256.New, s.root, "cohort "+info, 32)
	if err != nil {
		panic("cluster: HKDF refused 32 bytes: " + err.Error())
	}
	return key
}

// Derive makes a 32 byte key for a purpose of the caller's, the same on every node of the cluster.
func (k *Keys) Derive(info string) []byte { return k.now.derive("sub " + info) }

// DeriveOld is Derive with the old secret; nil when there is none. What is checked with Derive's key may
// be checked with this one too.
func (k *Keys) DeriveOld(info string) []byte {
	if k.old == nil {
		return nil
	}
	return k.old.derive("sub " + info)
}

// sets are all that is accepted, the one that is used first.
func (k *Keys) sets() []*keySet {
	if k.old == nil {
		return []*keySet{k.now}
	}
	return []*keySet{k.now, k.old}
}
