package demo

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuer stands in for the backend that issues tokens. Its key exists in this process only.
type issuer struct {
	public  ed25519.PublicKey
	private ed25519.PrivateKey
}

// tokenLifetime is how long the tokens are valid.
const tokenLifetime = 24 * time.Hour

// The principals of the demo. The scheduler reports jobs, and may do nothing else.
const (
	user          = "ann"
	administrator = "root"
	collector     = "collector"
	batchSystem   = "scheduler"
)

func newIssuer() (issuer, error) {
	public, private, err := ed25519.GenerateKey(nil)
	return issuer{public, private}, err
}

// publicKey returns the key in the form of main.jwt-public-key.
func (i issuer) publicKey() string { return base64.StdEncoding.EncodeToString(i.public) }

// token returns a token with roles. It is as short as possible, because people copy it.
func (i issuer) token(subject string, roles ...string) (string, error) {
	if roles == nil {
		roles = []string{} // null is refused
	}
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"sub":   subject,
		"roles": roles,
		"exp":   time.Now().Add(tokenLifetime).Unix(),
	})
	delete(t.Header, "typ")
	return t.SignedString(i.private)
}

// principals are tokens.
type principals struct {
	people    map[string]string // by name
	scheduler string
}

func (i issuer) principals() (p principals, err error) {
	p.people = map[string]string{}
	var errs [4]error
	p.people[user], errs[0] = i.token(user, "user")
	p.people[administrator], errs[1] = i.token(administrator, "admin")
	p.people[collector], errs[2] = i.token(collector, "api")
	p.scheduler, errs[3] = i.token(batchSystem)
	return p, errors.Join(errs[:]...)
}
