package auth

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
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
	subjects map[issuerSubject]revokedSubject
	issuers  map[string]struct{} // of the subjects
}

type issuerSubject struct{ issuer, subject string }

type revokedSubject struct {
	notBefore time.Time // tokens issued before then are revoked; all, for the zero time
	paired    bool      // the entry has both the sub and the name
}

// ParseRevocations reads
//
//	{"tokens": ["<jti>", "<SHA-256 of a token in hexadecimal>"],
//	 "subjects": [{"issuer": "<name or iss>", "sub": "<sub or subject>", "name": "<subject>", "not-before": <time>}]}
//
// An entry with a name revokes tokens with the sub and tokens with the name. A subject's tokens with an iat before not-before are revoked, and those without iat; a time is a
// NumericDate or an RFC 3339 string. Without not-before, all of the subject's tokens are. The two
// lists, name and not-before are optional, unknown members are errors, and an error names the item.
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
	r := &Revocations{make(map[string]struct{}), make(map[digest]struct{}), make(map[issuerSubject]revokedSubject), make(map[string]struct{})}
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
	if err := checkMembers(members, "issuer", "sub", "name", "not-before"); err != nil {
		return fmt.Errorf(": %w", err)
	}
	issuer, ok := members["issuer"].(string)
	if !ok || !IsName(issuer) {
		return errors.New(".issuer: not a name")
	}
	subject, ok := members["sub"].(string)
	if !ok || !IsName(subject) {
		return errors.New(".sub: not a name")
	}
	name, ok := members["name"].(string)
	if _, named := members["name"]; named && (!ok || !IsName(name)) {
		return errors.New(".name: not a name")
	}
	notBefore, err := readNotBefore(members)
	if err != nil {
		return err
	}
	r.issuers[issuer] = struct{}{}
	r.revoke(issuerSubject{issuer, subject}, notBefore, name != "")
	if name != "" {
		r.revoke(issuerSubject{issuer, name}, notBefore, true)
	}
	return nil
}

// revoke adds a subject. Of two entries for it the stricter one counts.
func (r *Revocations) revoke(subject issuerSubject, notBefore time.Time, paired bool) {
	other, exists := r.subjects[subject]
	if exists && (other.notBefore.IsZero() || !notBefore.IsZero() && notBefore.Before(other.notBefore)) {
		notBefore = other.notBefore
	}
	r.subjects[subject] = revokedSubject{notBefore, paired || other.paired}
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
	for issuer := range r.issuers {
		if !known(issuer) {
			return fmt.Errorf("subjects: no issuer has the name or iss %q", issuer)
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

// subjectRevoked compares every name that the token has for its subject, not only the one that is
// the principal's: which of the principal claims a token carries is often for its holder to say.
func (r *Revocations) subjectRevoked(i *issuer, claims map[string]any, p *Principal, issued time.Time) bool {
	if len(r.subjects) == 0 {
		return false
	}
	names, hasSub := i.names(claims, p)
	concerned := false
	for _, issuer := range [...]string{i.Name, i.Issuer.Issuer} {
		if _, ok := r.issuers[issuer]; !ok {
			continue
		}
		concerned = true
		for _, name := range names {
			one, ok := r.subjects[issuerSubject{issuer, name}]
			if ok && (one.notBefore.IsZero() || issued.Before(one.notBefore)) {
				return true // an absent issued time is before all others
			}
		}
	}
	// Without a sub, a revoked person is recognised by a name only, and can leave it out or change it.
	return concerned && !hasSub && i.mayChange(claims, p)
}

// names returns all names of a token's subject: the principal's, the sub, every principal claim, and
// the name of the service account that its client would have.
func (i *issuer) names(claims map[string]any, p *Principal) (names []string, hasSub bool) {
	names = append(names, p.Subject)
	sub, _ := claims["sub"].(string)
	if sub != "" {
		names = append(names, sub)
	}
	if i.tenant != "" {
		return names, sub != ""
	}
	for _, claim := range i.PrincipalClaims {
		if name, found, err := lookupString(claims, claim); err == nil && found {
			names = append(names, name)
		}
	}
	if _, named := claims["preferred_username"]; !named {
		for _, member := range [...]string{"client_id", "clientId"} {
			if client, ok := claims[member].(string); ok {
				names = append(names, serviceAccountPrefix+strings.ToLower(client))
			}
		}
	}
	return names, sub != ""
}

// mayChange reports whether the holder of a token without sub could have had another subject: by
// renaming themselves, or by asking for a token with fewer claims.
func (i *issuer) mayChange(claims map[string]any, p *Principal) bool {
	if i.tenant != "" || strings.HasPrefix(p.Subject, serviceAccountPrefix) {
		return false
	}
	first, found, err := lookupString(claims, i.PrincipalClaims[0])
	return p.SelfChosen || err != nil || !found || first != p.Subject
}

// maxRevocationWarnings is the maximum number of entries that are named in warnings.
const maxRevocationWarnings = 10

// warn names the entries that a person escapes who changes their name, or leaves it out of a token.
func (r *Revocations) warn(t *issuerTable, log *slog.Logger) {
	if r == nil {
		return
	}
	var escaped []issuerSubject
	for subject, one := range r.subjects {
		i := cmp.Or(t.byName[subject.issuer], t.byISS[subject.issuer])
		if i != nil && !one.paired && i.nameMayChange() && !isGUID(subject.subject) && !strings.HasPrefix(subject.subject, serviceAccountPrefix) {
			escaped = append(escaped, subject)
		}
	}
	slices.SortFunc(escaped, func(a, b issuerSubject) int {
		return cmp.Or(cmp.Compare(a.issuer, b.issuer), cmp.Compare(a.subject, b.subject))
	})
	for n, subject := range escaped {
		if n == maxRevocationWarnings {
			log.Warn("more revocations by name are evaded the same way", "entries", len(escaped)-n)
			return
		}
		log.Warn("a revocation by name is evaded by changing the name, or by a token without it; if it is a name, add the sub that the issuer gave its owner",
			"issuer", subject.issuer, "name", subject.subject,
			"write", fmt.Sprintf(`{"issuer": %q, "name": %q, "sub": "SUB"}`, subject.issuer, subject.subject))
	}
}

// nameMayChange reports whether a person's subject at the issuer may change.
func (i *issuer) nameMayChange() bool {
	return i.tenant == "" && (len(i.PrincipalClaims) > 1 || isSelfChosen(i.PrincipalClaims[0]))
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
