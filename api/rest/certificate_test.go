package rest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/auth"
)

// authority issues client certificates and revocation lists.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	return authority{issue(t, template, template, key, key), key}
}

func issue(t *testing.T, template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (a authority) client(t *testing.T, serial int64) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := issue(t, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "client"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert, key, a.key)
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// list returns a revocation list in PEM, made some minutes ago.
func (a authority) list(t *testing.T, minutesAgo int, next time.Time, serials ...int64) string {
	t.Helper()
	template := &x509.RevocationList{
		Number: big.NewInt(int64(100 - minutesAgo)), ThisUpdate: time.Now().Add(-time.Duration(minutesAgo) * time.Minute), NextUpdate: next,
	}
	for _, s := range serials {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: time.Now().Add(-time.Minute)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pemText("X509 CRL", der)
}

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// TestRevokedClientCertificates: a certificate on the newest list of its authority is refused, as are
// those whose list has expired. Each refusal is reported with its reason.
func TestRevokedClientCertificates(t *testing.T) {
	ca, other, stranger := newAuthority(t, "ca"), newAuthority(t, "other"), newAuthority(t, "ca")
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	next, past := time.Now().Add(time.Hour), time.Now().Add(-30*time.Second)
	authorities := write("ca.pem", pemText("CERTIFICATE", ca.cert.Raw)+pemText("CERTIFICATE", other.cert.Raw))
	files := rest.Certificate{ClientCAFile: authorities}
	files.CertFile, files.KeyFile, _ = selfSigned(t)
	lists := write("crl.pem", other.list(t, 1, next)+ca.list(t, 2, next, 7, 8)+ca.list(t, 5, next, 9)) // the newest counts
	files.ClientCRLFile = lists

	var mu sync.Mutex
	var refused []string
	roots := x509.NewCertPool()
	if text, err := os.ReadFile(files.CertFile); err != nil || !roots.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	s, address, served := serve(t, open(t).Config.Handler, rest.ServerOptions{
		Certificate: files, RefusedCertificate: func(peer string, code auth.Reason) {
			mu.Lock()
			defer mu.Unlock()
			refused = append(refused, peer+" "+string(code))
		},
	})
	t.Cleanup(func() {
		_ = s.Shutdown(t.Context())
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	h := &httpsServer{Server: s, files: files, address: address, roots: roots}
	f := func(what string, identity *tls.Certificate, want auth.Reason) {
		t.Helper()
		mu.Lock()
		refused = nil
		mu.Unlock()
		status, err := h.get(t, identity, nil)
		reported := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(refused) > 0
		}
		for deadline := time.Now().Add(5 * time.Second); want != "" && !reported() && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond) // the client gets the alert before the server reports it
		}
		mu.Lock()
		defer mu.Unlock()
		if want == "" && (err != nil || status != 200 || len(refused) > 0) || want != "" && (err == nil || len(refused) == 0 || refused[0] != "127.0.0.1 "+string(want)) {
			t.Errorf("%s: %d, %v, reported %q, want %q", what, status, err, refused, want)
		}
	}
	f("a good one", ca.client(t, 2), "")
	f("only on an older list", ca.client(t, 9), "")
	f("of the other authority", other.client(t, 7), "")
	f("revoked", ca.client(t, 7), auth.RevokedCertificate)
	f("revoked", ca.client(t, 8), auth.RevokedCertificate)
	f("none", nil, auth.NoCertificate)
	f("of an authority of the same name", stranger.client(t, 2), auth.BadCertificate)

	replace := func(text string) error {
		t.Helper()
		write("crl.pem", text)
		return s.LoadCertificate(files)
	}
	if err := replace(ca.list(t, 1, past) + other.list(t, 1, next)); err != nil {
		t.Fatal(err)
	}
	f("with an expired list", ca.client(t, 2), auth.BadCertificate)
	f("with another list", other.client(t, 2), "")
	if err := replace(ca.list(t, 1, next, 2) + other.list(t, 1, next)); err != nil {
		t.Fatal(err)
	}
	f("revoked since", ca.client(t, 2), auth.RevokedCertificate)
	for _, bad := range []struct{ text, want string }{
		{"", "list 1: "},
		{"rubbish", "list 1: "},
		{ca.list(t, 1, next), `no list of "CN=other"`},
		{ca.list(t, 1, next) + stranger.list(t, 1, next) + other.list(t, 1, next), `list 2: the issuer "CN=ca" is no authority`},
		{pemText("CERTIFICATE", ca.cert.Raw), `no list of "CN=ca"`},
		{pemText("X509 CRL", ca.cert.Raw), "list 1: "},
	} {
		if err := replace(bad.text); err == nil || !strings.Contains(err.Error(), bad.want) || !strings.Contains(err.Error(), lists) {
			t.Errorf("%.20s: %v, want %s", bad.text, err, bad.want)
		}
		f("the previous list is in use", ca.client(t, 2), auth.RevokedCertificate)
	}
}

// TestTLSSuites: TLS 1.2 works with authenticated encryption only.
func TestTLSSuites(t *testing.T) {
	h := openHTTPS(t, open(t).Config.Handler, "")
	good := 0
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		c, err := tls.Dial("tcp", h.address, &tls.Config{RootCAs: h.roots, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}})
		if err == nil {
			c.Close()
			good++
		}
		if aead := strings.Contains(suite.Name, "_GCM_") || strings.Contains(suite.Name, "POLY1305"); err == nil && !(aead && strings.HasPrefix(suite.Name, "TLS_ECDHE_")) {
			t.Errorf("%s is accepted", suite.Name)
		}
	}
	if good == 0 {
		t.Error("no suite of TLS 1.2 is accepted")
	}
}

// TestStrictTransportSecurity: answers over HTTPS, and no others, say that HTTPS is to be used.
func TestStrictTransportSecurity(t *testing.T) {
	d := open(t)
	h := openHTTPS(t, d.Config.Handler, "")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for _, path := range []string{"/-/healthy", "/api/query", "/none"} {
		for _, url := range []string{"https://" + h.address, d.URL} {
			resp, err := client.Get(url + path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			want := ""
			if strings.HasPrefix(url, "https") {
				want = "max-age=31536000"
			}
			if got := fmt.Sprint(resp.Header.Get("Strict-Transport-Security")); got != want {
				t.Errorf("%s%s: %q, want %q", url, path, got, want)
			}
		}
	}
}
