package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/ringstore/ringstore/auth/internal/object"
)

// MaxRevocations is the maximum size of a revocations file in bytes, enough for some 100,000 hashes
// of tokens.
const MaxRevocations = 8 << 20

const maxRevocationItems = 1 << 18

// Revocations lists tokens to refuse although they are otherwise valid. It is immutable.
type Revocations struct {
	ids      map[string]struct{} // jti
	hashes   map[digest]struct{}
	subjects map[issuerSubject]time.Time // tokens issued before then are revoked; all, for the zero time
}

type issuerSubject struct{ issuer, subject string }

// ParseRevocations reads
//
//	{"tokens": ["<jti>", "<SHA-256 of a token in hexadecimal>"],
//	 "subjects": [{"issuer": "<name or iss>", "sub": "<sub or subject>", "not-before": <time>}]}
//
// A subject's tokens with an iat before not-before are revoked, and those without iat; a time is a
// NumericDate or an RFC 3339 string. Without not-before, all of the subject's tokens are. The two
// lists and not-before are optional, unknown members are errors, and an error names the item.
// Memory is bounded by the file's 8 MiB.
func ParseRevocations(data []byte) (*Revocations, error) {
	if len(data) > MaxRevocations {
		return nil, fmt.Errorf("longer than %d bytes", MaxRevocations)
	}
	members, err := object.Read(data, maxRevocationItems)
	if err != nil {
		return nil, err
	}
	if err := checkMembers(members, "tokens", "subjects"); err != nil {
		return nil, err
	}
	r := &Revocations{make(map[string]struct{}), make(map[digest]struct{}), make(map[issuerSubject]time.Time)}
	for _, list := range []struct {
		name string
		add  func(item any) error
	}{{"tokens", r.addToken}, {"subjects", r.addSubject}} {
		value, ok := members[list.name]
		if !ok {
			continue
		}
		items, ok := value.([]any)
		if !ok {
			return nil, fmt.Errorf("%s: not an array", list.name)
		}
		for i, item := range items {
			if err := list.add(item); err != nil {
				return nil, fmt.Errorf("%s[%d]%w", list.name, i, err)
			}
		}
	}
	return r, nil
}

func checkMembers(members map[string]any, known ...string) error {
	for name := range members {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%q: unknown member", name)
		}
	}
	return nil
}

// addToken adds 64 hexadecimal digits both as a hash and as a jti: they may be either.
func (r *Revocations) addToken(item any) error {
	s, ok := item.(string)
	if !ok || !IsName(s) {
		return errors.New(": expected a jti or a SHA-256 in hexadecimal")
	}
	r.ids[s] = struct{}{}
	var hash digest
	if len(s) == hex.EncodedLen(len(hash)) {
		if _, err := hex.Decode(hash[:], []byte(s)); err == nil {
			r.hashes[hash] = struct{}{}
		}
	}
	return nil
}

func (r *Revocations) addSubject(item any) error {
	members, ok := item.(map[string]any)
	if !ok {
		return errors.New(": not an object")
	}
	if err := checkMembers(members, "issuer", "sub", "not-before"); err != nil {
		return fmt.Errorf(": %w", err)
	}
	var revoked issuerSubject
	if revoked.issuer, ok = members["issuer"].(string); !ok || !IsName(revoked.issuer) {
		return errors.New(".issuer: not a name")
	}
	if revoked.subject, ok = members["sub"].(string); !ok || !IsName(revoked.subject) {
		return errors.New(".sub: not a name")
	}
	notBefore, err := readNotBefore(members)
	if err != nil {
		return err
	}
	if other, exists := r.subjects[revoked]; exists && (other.IsZero() || !notBefore.IsZero() && notBefore.Before(other)) {
		notBefore = other
	}
	r.subjects[revoked] = notBefore
	return nil
}

func readNotBefore(members map[string]any) (time.Time, error) {
	const member = "not-before"
	if text, ok := members[member].(string); ok {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil || t.Unix() <= 0 {
			return time.Time{}, errors.New("." + member + ": expected a time like 2006-01-02T15:04:05Z")
		}
		return t, nil
	}
	t, err := readDate(members, member)
	if err != nil || !t.IsZero() && t.Unix() <= 0 {
		return time.Time{}, errors.New("." + member + ": expected seconds since 1970 or a time like 2006-01-02T15:04:05Z")
	}
	return t, nil
}

// checkIssuers refuses subjects of unknown issuers, which would revoke nothing.
func (r *Revocations) checkIssuers(known func(issuer string) bool) error {
	for subject := range r.subjects {
		if !known(subject.issuer) {
			return fmt.Errorf("subjects: no issuer has the name or iss %q", subject.issuer)
		}
	}
	return nil
}

// revoked reports whether the token is revoked. A nil r revokes nothing.
func (r *Revocations) revoked(t *token, i *issuer, p *Principal, issued time.Time) bool {
	if r == nil {
		return false
	}
	if _, ok := r.ids[p.TokenID]; ok && p.TokenID != "" {
		return true
	}
	return r.hashRevoked(t) || r.subjectRevoked(i, t.claims, p, issued)
}

func (r *Revocations) hashRevoked(t *token) bool {
	if len(r.hashes) == 0 {
		return false
	}
	if _, ok := r.hashes[sha256.Sum256([]byte(t.raw))]; ok {
		return true
	}
	twin, ok := t.twin()
	if !ok {
		return false
	}
	_, ok = r.hashes[sha256.Sum256([]byte(twin))]
	return ok
}

func (r *Revocations) subjectRevoked(i *issuer, claims map[string]any, p *Principal, issued time.Time) bool {
	if len(r.subjects) == 0 {
		return false
	}
	sub, _ := claims["sub"].(string)
	for _, name := range [...]string{i.Name, i.Issuer.Issuer} {
		for _, subject := range [...]string{p.Subject, sub} {
			if notBefore, ok := r.subjects[issuerSubject{name, subject}]; ok && (notBefore.IsZero() || issued.Before(notBefore)) {
				return true // an absent issued time is before all others
			}
		}
	}
	return false
}

// twin returns the other valid form of a token that is signed with ECDSA. If (r, s) verifies, so
// does (r, n-s), so anyone who holds a token can make a second one from it, with another hash.
func (t *token) twin() (string, bool) {
	curve := algorithms[t.alg].curve
	if curve == nil || len(t.signature) != 2*((curve.Params().BitSize+7)/8) {
		return "", false
	}
	half := len(t.signature) / 2
	s := new(big.Int).SetBytes(t.signature[half:])
	if s.Sign() == 0 || s.Cmp(curve.Params().N) >= 0 {
		return "", false
	}
	other := make([]byte, len(t.signature))
	copy(other, t.signature[:half])
	s.Sub(curve.Params().N, s).FillBytes(other[half:])
	return t.signed + "." + encodeSegment(other), true
}
