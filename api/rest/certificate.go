package rest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ringstore/ringstore/api/internal/ciphers"
	"github.com/ringstore/ringstore/auth"
)

// Certificate names the PEM files of HTTPS.
type Certificate struct {
	CertFile, KeyFile string
	// ClientCAFile holds the authorities of client certificates. If it is set, a client without a
	// certificate of one of them gets no connection. Requests still need a token.
	ClientCAFile string
	// ClientCRLFile holds revocation lists of these authorities. If it is set, each authority needs
	// one, and revoked certificates get no connection.
	ClientCRLFile string
}

// IsHTTPS reports whether the server was created with a certificate.
func (s *Server) IsHTTPS() bool { return s.tlsConfig != nil }

// LoadCertificate reads a certificate for new connections; open ones continue. After an error the
// previous certificate stays active. It has no effect on a server that was created for HTTP.
func (s *Server) LoadCertificate(c Certificate) error {
	config, err := c.load()
	if err != nil {
		return err
	}
	s.tls.Store(config)
	return nil
}

// Check reads the files and returns what is wrong with them.
func (c Certificate) Check() error {
	_, err := c.load()
	return err
}

func (c Certificate) load() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("HTTPS certificate %q with key %q: %w", c.CertFile, c.KeyFile, err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		CipherSuites: ciphers.AEAD(),
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if c.ClientCAFile == "" {
		if c.ClientCRLFile != "" {
			return nil, errors.New("revocation lists of HTTPS clients: need their authorities")
		}
		return config, nil
	}
	text, err := os.ReadFile(c.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("authorities of HTTPS clients: %w", err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("authorities of HTTPS clients: %q holds no certificate (PEM)", c.ClientCAFile)
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.SessionTicketsDisabled = true // a resumed session would outlive the removal of its authority
	if c.ClientCRLFile == "" {
		return config, nil
	}
	lists, err := readRevocationLists(c.ClientCRLFile, text)
	if err != nil {
		return nil, fmt.Errorf("revocation lists of HTTPS clients: %q: %w", c.ClientCRLFile, err)
	}
	config.VerifyConnection = lists.verify
	return config, nil
}

// The reasons to refuse a connection for its certificate, beside those of crypto/tls.
var (
	errRevoked    = errors.New("the client certificate is revoked")
	errUnverified = errors.New("the client certificate cannot be compared with a revocation list")
)

// certificateReason returns why a handshake failed if the client's certificate is the reason, ""
// otherwise. Errors that the client reports are about the server's certificate.
func certificateReason(err error) auth.Reason {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return auth.BadCertificate
	}
	switch text := err.Error(); {
	case errors.Is(err, errRevoked):
		return auth.RevokedCertificate
	case strings.Contains(text, "client didn't provide a certificate"):
		return auth.NoCertificate
	case strings.Contains(text, "client certificate"), errors.Is(err, errUnverified):
		return auth.BadCertificate
	default:
		return ""
	}
}

// revocationLists are the newest revocation lists (RFC 5280, section 5) of client authorities, by
// the authority's subject in DER.
type revocationLists map[string]revocationList

type revocationList struct {
	authority *x509.Certificate
	list      *x509.RevocationList
	serials   map[string]struct{}
}

// MaxRevocationLists is the maximum size of a file with revocation lists in bytes, enough for some
// 400,000 certificates.
const MaxRevocationLists = 16 << 20

// readRevocationLists reads the lists in a file, PEM or one in DER. Each must be signed by one of the
// authorities, which are PEM.
func readRevocationLists(file string, authorities []byte) (revocationLists, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	known, err := parseAuthorities(authorities)
	if err != nil {
		return nil, err
	}
	lists := make(revocationLists)
	for n, der := range pemBlocks(data, "X509 CRL") {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("list %d: %w", n+1, err)
		}
		if err := lists.add(list, known); err != nil {
			return nil, fmt.Errorf("list %d: %w", n+1, err)
		}
	}
	for _, authority := range known {
		if _, ok := lists[string(authority.RawSubject)]; !ok {
			return nil, fmt.Errorf("no list of %q, an authority of main.https-client-ca-file", authority.Subject)
		}
	}
	return lists, nil
}

// add adds a list. Of two by one authority the newer one counts.
func (l revocationLists) add(list *x509.RevocationList, authorities []*x509.Certificate) error {
	for _, authority := range authorities {
		if !bytes.Equal(authority.RawSubject, list.RawIssuer) || list.CheckSignatureFrom(authority) != nil {
			continue
		}
		subject := string(authority.RawSubject)
		if before, ok := l[subject]; ok && !list.ThisUpdate.After(before.list.ThisUpdate) {
			return nil
		}
		one := revocationList{authority, list, make(map[string]struct{})}
		for _, entry := range list.RevokedCertificateEntries {
			one.serials[string(entry.SerialNumber.Bytes())] = struct{}{}
		}
		l[subject] = one
		return nil
	}
	return fmt.Errorf("the issuer %q is no authority of main.https-client-ca-file, or has not signed it", list.Issuer)
}

// verify refuses a connection if each chain of its certificate has a revoked one, or one that
// cannot be checked because the list of its authority has expired.
func (l revocationLists) verify(state tls.ConnectionState) error {
	var refused error
	for _, chain := range state.VerifiedChains {
		if refused = l.check(chain, time.Now()); refused == nil {
			return nil
		}
	}
	if refused == nil {
		refused = errUnverified
	}
	return refused
}

// check looks up each certificate of a chain but the root. An authority between without a list of
// its own is covered by the list of its issuer.
func (l revocationLists) check(chain []*x509.Certificate, now time.Time) error {
	for _, cert := range chain[:max(0, len(chain)-1)] {
		one, ok := l[string(cert.RawIssuer)]
		if !ok {
			continue
		}
		if next := one.list.NextUpdate; !next.IsZero() && now.After(next) {
			return fmt.Errorf("%w: that of %q has expired", errUnverified, one.authority.Subject)
		}
		if _, revoked := one.serials[string(cert.SerialNumber.Bytes())]; revoked {
			return errRevoked
		}
	}
	return nil
}

func parseAuthorities(text []byte) (list []*x509.Certificate, err error) {
	for _, der := range pemBlocks(text, "CERTIFICATE") {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("authorities: %w", err)
		}
		list = append(list, cert)
	}
	return list, nil
}

// pemBlocks returns the blocks of a type, or data itself if it is not PEM.
func pemBlocks(data []byte, kind string) (blocks [][]byte) {
	found := false
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		found = true
		if block.Type == kind {
			blocks = append(blocks, block.Bytes)
		}
	}
	if !found {
		return [][]byte{data}
	}
	return blocks
}
