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

// MaxRevocations is the longest file of revocations, in bytes: some 100,000 tokens by their hash.
const MaxRevocations = 8 << 20

const maxRevocationItems = 1 << 18

// Revocations are tokens that are refused though their issuers would have them accepted. They do not change.
type Revocations struct {
	ids      map[string]struct{}
	hashes   map[digest]struct{}
	subjects map[issuerSubject]time.Time // issued before that; the zero time: whenever
}

type issuerSubject struct{ issuer, subject string }

// ParseRevocations reads
//
//	{"tokens": ["<jti>", "<SHA-256 of a token in hexadecimal>"],
//	 "subjects": [{"issuer": "<name or iss>", "sub": "<sub or subject>", "not-before": <time>}]}
//
// A subject's tokens with an iat before not-before are revoked, and those without iat; a time is a NumericDate or a
// string as in RFC 3339. Without not-before all are. Every member but that one and the two lists must be there, others
// must not, and an error names the item. Memory is bounded by the file's 8 MiB.
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
			return fmt.Errorf("%q: not a member that is known here", name)
		}
	}
	return nil
}

// addToken takes 64 hexadecimal digits for a jti too, which they may be.
func (r *Revocations) addToken(item any) error {
	s, ok := item.(string)
	if !ok || !IsName(s) {
		return errors.New(": neither a jti nor a SHA-256 in hexadecimal")
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
	var who issuerSubject
	if who.issuer, ok = members["issuer"].(string); !ok || !IsName(who.issuer) {
		return errors.New(".issuer: not a name")
	}
	if who.subject, ok = members["sub"].(string); !ok || !IsName(who.subject) {
		return errors.New(".sub: not a name")
	}
	notBefore, err := readNotBefore(members)
	if err != nil {
		return err
	}
	if other, twice := r.subjects[who]; twice && (other.IsZero() || !notBefore.IsZero() && notBefore.Before(other)) {
		notBefore = other
	}
	r.subjects[who] = notBefore
	return nil
}

func readNotBefore(members map[string]any) (time.Time, error) {
	const member = "not-before"
	if text, ok := members[member].(string); ok {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil || t.Unix() <= 0 {
			return time.Time{}, errors.New("." + member + ": not a time as 2006-01-02T15:04:05Z")
		}
		return t, nil
	}
	t, err := readDate(members, member)
	if err != nil || !t.IsZero() && t.Unix() <= 0 {
		return time.Time{}, errors.New("." + member + ": neither seconds since 1970 nor a time as 2006-01-02T15:04:05Z")
	}
	return t, nil
}

// checkIssuers refuses a subject of an issuer that is not known: it would be revoked by nobody.
func (r *Revocations) checkIssuers(known func(issuer string) bool) error {
	for who := range r.subjects {
		if !known(who.issuer) {
			return fmt.Errorf("subjects: %q is the name or iss of no issuer", who.issuer)
		}
	}
	return nil
}

// revoked reports whether the token is among them.
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
				return true // an issued time that is absent is before all others
			}
		}
	}
	return false
}

// twin returns the other spelling of a token that is signed with ECDSA. With (r, s) also (r, n-s) verifies, so whoever
// holds a token can make this of it, which has another hash.
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
