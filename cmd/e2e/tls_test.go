package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/rest/resttest"
	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// certificate is a self-signed certificate for 127.0.0.1.
type certificate struct {
	certFile, keyFile string
	trust             *tls.Config // of a client
}

func newCertificate(t testing.TB, directory string) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "ringstore test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return certificate{
		certFile: cmdtest.WriteFile(t, filepath.Join(directory, "cert.pem"), pemOf("CERTIFICATE", der)),
		keyFile:  cmdtest.WriteFile(t, filepath.Join(directory, "key.pem"), pemOf("PRIVATE KEY", pkcs8)),
		trust:    &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}
}

func (s settings) https(c certificate) {
	s["main"]["https-cert-file"], s["main"]["https-key-file"] = c.certFile, c.keyFile
}

// TestHTTPS: HTTPS works like HTTP, and neither plain HTTP nor an old TLS version is accepted.
func TestHTTPS(t *testing.T) {
	s := newSettings(t)
	c := newCertificate(t, t.TempDir())
	s.https(c)
	p := call(t, "-config", s.file(t))
	p.client = newClient(t, c.trust)
	p.ready(t)
	p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=1 %d", now()-60))
	if got := p.samples(t, "n1", "cpu_load", now()-120, now()); len(got) != 1 {
		t.Errorf("%v", got)
	}
	if got := p.send(t, "", "POST", "/api/query", "{}"); got.status != http.StatusUnauthorized {
		t.Errorf("without a token: %d", got.status)
	}
	plain := newClient(t, nil)
	plain.Transport = resttest.Bare(plain.Transport) // net/http itself answers
	defer plain.CloseIdleConnections()
	resp, err := plain.Get(strings.Replace(p.url, "https", "http", 1) + "/-/healthy")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("HTTP: %d, %v", resp.StatusCode, err)
	}
	old := c.trust.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if conn, err := tls.Dial("tcp", strings.TrimPrefix(p.url, "https://"), old); err == nil {
		conn.Close()
		t.Error("TLS 1.1 is accepted")
	}
	stranger := newClient(t, &tls.Config{MinVersion: tls.VersionTLS12})
	defer stranger.CloseIdleConnections()
	if resp, err := stranger.Get(p.url + "/-/healthy"); err == nil {
		resp.Body.Close()
		t.Error("a client that does not know the certificate trusts it")
	}
}

// TestClientCertificates: with a CA for clients, a connection needs a certificate of that CA, and a
// request still needs a token. A replaced CA file takes effect.
func TestClientCertificates(t *testing.T) {
	s := newSettings(t)
	directory := t.TempDir()
	c, ours, other := newCertificate(t, t.TempDir()), newCertificate(t, directory), newCertificate(t, t.TempDir())
	s.https(c)
	authority := cmdtest.WriteFile(t, filepath.Join(directory, "ca.pem"), []byte(cmdtest.ReadFile(t, ours.certFile)))
	s["main"]["https-client-ca-file"] = authority
	p := call(t, "-config", s.file(t))
	as := func(identity certificate) httpClient {
		pair, err := tls.LoadX509KeyPair(identity.certFile, identity.keyFile)
		if err != nil {
			t.Fatal(err)
		}
		config := c.trust.Clone()
		config.Certificates = []tls.Certificate{pair}
		client := newClient(t, config)
		t.Cleanup(client.CloseIdleConnections)
		return client
	}
	p.client = as(ours)
	p.ready(t)
	p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=1 %d", now()-60))
	if got := p.send(t, "", "POST", "/api/query", "{}"); got.status != http.StatusUnauthorized {
		t.Errorf("a certificate and no token: %d", got.status)
	}
	refused := func(client httpClient) error {
		client.CloseIdleConnections()
		resp, err := client.Get(p.url + "/-/healthy")
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	anonymous, stranger := newClient(t, c.trust), as(other)
	for name, client := range map[string]httpClient{"a client without a certificate": anonymous, "a client of another CA": stranger} {
		if refused(client) == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	cmdtest.WriteFile(t, authority, []byte("none"))
	p.says(t, regexp.MustCompile(`source not read; the previous data stays active" source=\S+ca.pem`))
	if err := refused(p.client); err != nil {
		t.Errorf("the CA was dropped when its file became unusable: %v", err)
	}
	cmdtest.WriteFile(t, authority, []byte(cmdtest.ReadFile(t, other.certFile)))
	cmdtest.Eventually(t, "the other CA", func() bool { return refused(stranger) == nil })
	if refused(p.client) == nil {
		t.Error("a client of the previous CA is still accepted")
	}
	p.client = stranger // for the end of the test
}

// TestRevokedClientCertificate: a certificate that its authority revokes while the server runs gets
// no connection from then on, and the audit has the reason.
func TestRevokedClientCertificate(t *testing.T) {
	s := newSettings(t)
	directory := t.TempDir()
	c := newCertificate(t, directory)
	s.https(c)
	key, err := ecdsa.GenerateKey(elliptic.P256(), nil)
	if err != nil {
		t.Fatal(err)
	}
	template := func(serial int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: fmt.Sprint("test ", serial)}, IsCA: serial == 1, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
	}
	issue := func(serial int64, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
		der, err := x509.CreateCertificate(nil, template(serial), parent, key.Public(), parentKey)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	ca := issue(1, template(1), key, key)
	revoke := func(serials ...int64) []byte {
		list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
		for _, serial := range serials {
			list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: time.Now()})
		}
		der, err := x509.CreateRevocationList(nil, list, ca, key)
		if err != nil {
			t.Fatal(err)
		}
		return pemOf("X509 CRL", der)
	}
	as := func(serial int64) httpClient {
		own, err := ecdsa.GenerateKey(elliptic.P256(), nil)
		if err != nil {
			t.Fatal(err)
		}
		config := c.trust.Clone()
		config.Certificates = []tls.Certificate{{Certificate: [][]byte{issue(serial, ca, own, key).Raw}, PrivateKey: own}}
		client := newClient(t, config)
		t.Cleanup(client.CloseIdleConnections)
		return client
	}
	s["main"]["https-client-ca-file"] = cmdtest.WriteFile(t, filepath.Join(directory, "ca.pem"), pemOf("CERTIFICATE", ca.Raw))
	lists := cmdtest.WriteFile(t, filepath.Join(directory, "crl.pem"), revoke(3))
	s["main"]["https-client-crl-file"] = lists
	p := call(t, "-config", s.file(t))
	accepted := func(client httpClient) bool {
		client.CloseIdleConnections()
		resp, err := client.Get(p.url + "/-/healthy")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	}
	good, doomed := as(2), as(4)
	p.client = good
	p.ready(t)
	if accepted(as(3)) || !accepted(doomed) || !accepted(good) {
		t.Error("the list at the start is not applied")
	}
	cmdtest.WriteFile(t, lists, revoke(3, 4))
	cmdtest.Eventually(t, "the revocation", func() bool { return !accepted(doomed) })
	p.says(t, regexp.MustCompile(`"transport":"http","peer":"127.0.0.1","issuer":"","subject":"","roles":\[\],"action":"","code":"revoked_certificate"`))
	if !accepted(good) {
		t.Error("others are refused too")
	}
}

// TestHTTPSFiles: the start fails with an unusable certificate and names it.
func TestHTTPSFiles(t *testing.T) {
	good, other := newCertificate(t, t.TempDir()), newCertificate(t, t.TempDir())
	f := func(code int, stderr string, c certificate) {
		t.Helper()
		s := newSettings(t)
		s.https(c)
		got := runCommand(t, nil, "-config", s.file(t))
		if got.code != code || !strings.Contains(got.stderr, stderr) {
			t.Errorf("exit code %d:\n%s\nwant %d, %s", got.code, got.stderr, code, stderr)
		}
	}
	missing := filepath.Join(t.TempDir(), "none.pem")
	f(exitBadUsage, "private key does not match public key", certificate{certFile: good.certFile, keyFile: other.keyFile})
	f(exitBadUsage, fmt.Sprintf("HTTPS certificate %q", missing), certificate{certFile: missing, keyFile: good.keyFile})
	f(exitBadUsage, good.certFile, certificate{certFile: good.certFile, keyFile: good.certFile})
	s := newSettings(t)
	s.https(good)
	s["main"]["https-client-ca-file"] = missing
	if got := runCommand(t, nil, "-config", s.file(t)); got.code != exitBadUsage || !strings.Contains(got.stderr, "authorities of HTTPS clients: open "+missing) {
		t.Errorf("%d %s", got.code, got.stderr)
	}
	f(exitBadUsage, "main.https-key-file: missing", certificate{certFile: good.certFile})
	f(exitBadUsage, "main.https-cert-file: missing", certificate{keyFile: good.keyFile})
}
