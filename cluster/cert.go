package cluster

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"
)

// Certificates are valid for as long as X.509 can say, and checked as of a fixed day within: a machine
// whose wall clock is wrong is still a member.
var (
	validFrom = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	validTo   = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) // RFC 5280, 4.1.2.5
	checkedAt = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
)

// authority signs certificates for whoever knows the secret.
type authority struct {
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

// newAuthority makes the same authority of the same seed everywhere.
func newAuthority(seed []byte) (*authority, error) {
	key := ed25519.NewKeyFromSeed(seed)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "cohort cluster"},
		NotBefore:             validFrom,
		NotAfter:              validTo,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key}, nil
}

// certificate makes a key pair of its own for a node and signs it.
func (a *authority) certificate(id string) (tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: "cohort node"},
		URIs:         []*url.URL{{Scheme: "urn", Opaque: "uuid:" + id}}, // RFC 9562, section 4
		NotBefore:    validFrom,
		NotAfter:     validTo,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(nil, template, a.cert, public, a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, nil
}

// ErrSecret says that the other end is of another cluster or has another secret.
var ErrSecret = errors.New("cluster: the other end has another cluster-secret or cluster-name")

// verify checks that a peer proved the secret, or the old one.
func (k *Keys) verify(certs []*x509.Certificate) error {
	if len(certs) == 0 {
		return ErrSecret
	}
	pool := x509.NewCertPool()
	for _, s := range k.sets() {
		pool.AddCert(s.ca.cert)
	}
	_, err := certs[0].Verify(x509.VerifyOptions{
		Roots:         pool,
		Intermediates: x509.NewCertPool(),
		CurrentTime:   checkedAt,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil || certs[0].IsCA || nodeOf(certs[0]) == "" {
		return ErrSecret
	}
	return nil
}

// nodeOf is the id of the node a certificate is for; "" if it is for none.
func nodeOf(cert *x509.Certificate) string {
	if len(cert.URIs) != 1 || cert.URIs[0].Scheme != "urn" {
		return ""
	}
	id, ok := strings.CutPrefix(cert.URIs[0].Opaque, "uuid:")
	if !ok || !isUUID(id) {
		return ""
	}
	return id
}

// tlsConfig is the same for both ends: each shows its certificate and checks the other's itself, since the
// standard check would ask the wall clock and a host name.
func (k *Keys) tlsConfig(id string) (*tls.Config, error) {
	cert, err := k.now.ca.certificate(id)
	if err != nil {
		return nil, fmt.Errorf("make this node's certificate: %w", err)
	}
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		Certificates:                []tls.Certificate{cert},
		ClientAuth:                  tls.RequireAnyClientCert,
		InsecureSkipVerify:          true, // VerifyConnection does it
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true, // frames and raft send in bulk
		Time:                        func() time.Time { return checkedAt },
		VerifyConnection: func(s tls.ConnectionState) error {
			return k.verify(s.PeerCertificates)
		},
	}, nil
}
