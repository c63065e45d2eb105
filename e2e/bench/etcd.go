package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// etcd is three etcd nodes with TLS between them, each with its data on this disk, fsync on.
type etcd struct {
	endpoints []string
	clients   []*clientv3.Client
	cmds      []*exec.Cmd
}

func startEtcd(ctx context.Context, dir string) (*etcd, error) {
	if err := writeCerts(dir); err != nil {
		return nil, err
	}
	e := &etcd{}
	var peers, initial []string
	for i := range 3 {
		e.endpoints = append(e.endpoints, "http://"+freeAddr())
		peers = append(peers, "https://"+freeAddr())
		initial = append(initial, fmt.Sprintf("e%d=%s", i, peers[i]))
	}
	for i := range 3 {
		cmd := exec.CommandContext(ctx, "etcd", "--name", fmt.Sprintf("e%d", i), "--data-dir", filepath.Join(dir, fmt.Sprintf("e%d", i)),
			"--listen-client-urls", e.endpoints[i], "--advertise-client-urls", e.endpoints[i],
			"--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i], "--initial-cluster", strings.Join(initial, ","),
			"--heartbeat-interval", "500", "--election-timeout", "5000", "--log-level", "error", "--logger", "zap",
			"--peer-client-cert-auth", "--peer-trusted-ca-file", filepath.Join(dir, "ca.pem"),
			"--peer-cert-file", filepath.Join(dir, "node.pem"), "--peer-key-file", filepath.Join(dir, "node.key"))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return nil, fmt.Errorf("start etcd (Debian: etcd-server): %w", err)
		}
		e.cmds = append(e.cmds, cmd)
	}
	return e, nil
}

// connect opens n clients, each with a connection of its own, spread over the three nodes.
func (e *etcd) connect(ctx context.Context, n int) error {
	for i := range n {
		c, err := clientv3.New(clientv3.Config{
			Endpoints: []string{e.endpoints[i%3]}, DialTimeout: 10 * time.Second, Context: ctx, Logger: zap.NewNop(),
		})
		if err != nil {
			return err
		}
		e.clients = append(e.clients, c)
	}
	ready, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if _, err := e.clients[0].Put(ready, "ready", "1"); err == nil {
			return nil
		} else if ready.Err() != nil {
			return fmt.Errorf("etcd does not answer: %w", err)
		}
	}
}

// put is one strict write of 8 bytes by caller i.
func (e *etcd) put(ctx context.Context, i int, key string) error {
	_, err := e.clients[i%len(e.clients)].Put(ctx, key, "12345678")
	return err
}

func (e *etcd) stop() {
	for _, c := range e.clients {
		c.Close()
	}
	for _, cmd := range e.cmds {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// writeCerts makes a CA and one certificate that all three nodes share.
func writeCerts(dir string) error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{{"ca.pem", "CERTIFICATE", caDER}, {"node.pem", "CERTIFICATE", leafDER}, {"node.key", "PRIVATE KEY", keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, f.name), pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), 0o600); err != nil {
			return err
		}
	}
	return nil
}
