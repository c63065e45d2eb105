package cluster

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"testing"
)

func TestNewSecret(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	if a == b || len(a) < shortestSecret {
		t.Errorf("NewSecret twice = %q and %q", a, b)
	}
	if err := (Config{Node: "n", Bind: "10.0.0.1:1", Secret: a}).Check(); err != nil {
		t.Errorf("Check of a new secret: %v", err)
	}
}

func TestDerive(t *testing.T) {
	same, err := DeriveKeys("a secret of the tests, long enough", "", "test")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := DeriveKeys("a secret of the tests, long enough", "", "another name")
	if err != nil {
		t.Fatal(err)
	}
	k := testKeys()
	if a, b := k.Derive("x"), same.Derive("x"); !bytes.Equal(a, b) || len(a) != 32 {
		t.Errorf("Derive on two nodes = %x and %x, want the same 32 bytes", a, b)
	}
	for name, other := range map[string][]byte{
		"another purpose": k.Derive("y"), "another secret": otherKeys().Derive("x"), "another cluster": elsewhere.Derive("x"),
		"an own purpose": k.now.derive("x"),
	} {
		if bytes.Equal(k.Derive("x"), other) {
			t.Errorf("%s has the same key", name)
		}
	}
	if k.DeriveOld("x") != nil {
		t.Error("DeriveOld without an old secret is not nil")
	}
	both := mustKeys("another secret, which is long enough too", "a secret of the tests, long enough")
	if !bytes.Equal(both.DeriveOld("x"), k.Derive("x")) {
		t.Error("DeriveOld is not what the old secret derives")
	}
	// What nodes of this version derive, nodes of the next have to derive too.
	if got, want := hex.EncodeToString(k.Derive("x")), knownDerivation; got != want {
		t.Errorf("Derive = %s, want %s as ever", got, want)
	}
}

const knownDerivation = "62d70dfbab4f9b6dd855ff834e81a068e12c5bbed06685d6d11209705bb87237"

func TestVerify(t *testing.T) {
	id := newUUID()
	parse := func(der []byte) *x509.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	made := func(k *Keys, id string) *x509.Certificate {
		c, err := k.now.ca.certificate(id)
		if err != nil {
			t.Fatal(err)
		}
		return parse(c.Certificate[0])
	}
	selfSigned := func() *x509.Certificate {
		public, private, _ := ed25519.GenerateKey(nil)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: testKeys().now.ca.cert.Subject, NotBefore: validFrom, NotAfter: validTo,
			URIs: made(testKeys(), id).URIs, IsCA: true, BasicConstraintsValid: true,
		}
		der, err := x509.CreateCertificate(nil, template, template, public, private)
		if err != nil {
			t.Fatal(err)
		}
		return parse(der)
	}
	swapped := mustKeys("another secret, which is long enough too", "a secret of the tests, long enough")
	for name, tt := range map[string]struct {
		keys  *Keys
		certs []*x509.Certificate
		ok    bool
	}{
		"the same secret":         {testKeys(), []*x509.Certificate{made(testKeys(), id)}, true},
		"the old secret":          {swapped, []*x509.Certificate{made(testKeys(), id)}, true},
		"another secret":          {testKeys(), []*x509.Certificate{made(otherKeys(), id)}, false},
		"nothing":                 {testKeys(), nil, false},
		"signed by itself":        {testKeys(), []*x509.Certificate{selfSigned()}, false},
		"the authority itself":    {testKeys(), []*x509.Certificate{testKeys().now.ca.cert}, false},
		"without a uuid":          {testKeys(), []*x509.Certificate{made(testKeys(), "me")}, false},
		"with a chain beside":     {testKeys(), []*x509.Certificate{selfSigned(), made(testKeys(), id)}, false},
		"another with its own CA": {testKeys(), []*x509.Certificate{made(otherKeys(), id), otherKeys().now.ca.cert}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tt.keys.verify(tt.certs); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrSecret) {
				t.Errorf("verify = %v, want ok %v", err, tt.ok)
			}
		})
	}
	if got := nodeOf(made(testKeys(), id)); got != id {
		t.Errorf("nodeOf = %q, want %q", got, id)
	}
}

func TestPacketSeal(t *testing.T) {
	a, b := newPacketSeal(testKeys()), newPacketSeal(testKeys())
	old := newPacketSeal(mustKeys("another secret, which is long enough too", "a secret of the tests, long enough"))
	seen := map[string]bool{}
	for i := range 1000 {
		content := bytes.Repeat([]byte{byte(i)}, i)
		packet := a.seal([]byte("before"), content)[len("before"):]
		if len(packet) != len(content)+packetOverhead || seen[string(packet[:packetHead])] {
			t.Fatalf("packet %d has %d bytes, or a nonce that was used before", i, len(packet))
		}
		seen[string(packet[:packetHead])] = true
		for _, s := range []*packetSeal{a, b, old} {
			if got, err := s.open(packet); err != nil || !bytes.Equal(got, content) {
				t.Fatalf("open = %x, %v; want %x", got, err, content)
			}
		}
		if i < 50 {
			for at := range packet {
				bad := slices.Clone(packet)
				bad[at] ^= 1
				if _, err := b.open(bad); err == nil {
					t.Fatalf("open with byte %d changed: want an error", at)
				}
			}
		}
	}
	if _, err := newPacketSeal(otherKeys()).open(a.seal(nil, []byte("x"))); err == nil {
		t.Error("another secret opens the packet")
	}
	for range 2 * openers {
		if _, err := b.open(newPacketSeal(testKeys()).seal(nil, []byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.known); n > openers {
		t.Errorf("%d senders are remembered, want %d at most", n, openers)
	}
}

func FuzzPacketOpen(f *testing.F) {
	s := newPacketSeal(testKeys())
	sealed := s.seal(nil, []byte("hello"))
	f.Add(sealed)
	f.Add(sealed[:packetHead])
	f.Add(s.seal(nil, nil))
	f.Add([]byte{packetVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := s.open(b)
		if err == nil && !bytes.Equal(got, []byte("hello")) && len(got) != 0 {
			t.Fatalf("open(%x) = %x: a forgery", b, got)
		}
	})
}

func BenchmarkPacket(b *testing.B) {
	from, to := newPacketSeal(testKeys()), newPacketSeal(testKeys())
	content := make([]byte, 500)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := to.open(from.seal(nil, content)); err != nil {
			b.Fatal(err)
		}
	}
}

// What a stranger's packet costs.
func BenchmarkPacketRefused(b *testing.B) {
	to, packet := newPacketSeal(testKeys()), newPacketSeal(otherKeys()).seal(nil, make([]byte, 500))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := to.open(packet); err == nil {
			b.Fatal("it opened")
		}
	}
}
