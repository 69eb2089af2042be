package auth

import (
	"context"
	"slices"
	"time"
)

// verification is the state of verifying one token. Each check sets fields for the later ones.
type verification struct {
	chain *Chain
	ctx   context.Context // of the one call that makes the verification
	text  string
	known bool // the token was good a moment ago
	now   time.Time
	at    time.Time // the moment that the token's times are compared with

	token      *token
	issuer     *issuer
	keys       *keySet // the issuer's keys when the verification began
	times      validity
	principal  *Principal
	candidates []candidate
	named      bool // the token's kid names one of the keys
	key        candidate

	refused bool // the remaining checks only decide what the client is told
}

// check is one check of a token. Its name is shown to users.
type check struct {
	name string
	run  func(*verification) error
}

// checks are the checks that a token must pass, in this order. The cheap ones come first, and only
// the last needs cryptography; so a forgery may be refused for any of these reasons. Authenticate
// and Explain both use this list.
var checks = [...]check{
	{"format", (*verification).checkFormat},
	{"issuer", (*verification).checkIssuer},
	{"algorithm", (*verification).checkAlgorithm},
	{"token type", (*verification).checkType},
	{"times", (*verification).checkTimes},
	{"lifetime", (*verification).checkLifetime},
	{"audience", (*verification).checkAudience},
	{"authorized party", (*verification).checkParty},
	{"required claims", (*verification).checkRequired},
	{"principal", (*verification).checkPrincipal},
	{"revocation", (*verification).checkRevocation},
	{"key", (*verification).checkKey},
	{"signature", (*verification).checkSignature},
}

// run makes the checks, up to the first that fails.
func (v *verification) run() error {
	for i := range checks {
		if err := checks[i].run(v); err != nil {
			return v.describe(err, checks[i+1:])
		}
	}
	return nil
}

// describe adds the Description to an error, if the token passes the remaining checks. These
// neither wait nor request keys: an expired token must cost no more than a forged one.
func (v *verification) describe(err error, remaining []check) error {
	refusal, ok := err.(*Refusal)
	if !ok || descriptions[refusal.Code] == "" {
		return err
	}
	v.refused = true
	for _, c := range remaining {
		if c.run(v) != nil {
			return err
		}
	}
	return &Refusal{refusal.Code, refusal.Detail, descriptions[refusal.Code]}
}

// issuerName returns the issuer's configured name, "" if the issuer is not known yet.
func (v *verification) issuerName() string {
	if v.issuer == nil {
		return ""
	}
	return v.issuer.Name
}

func (v *verification) checkFormat() (err error) {
	v.token, err = readToken(v.text)
	return err
}

// checkIssuer selects the issuer by the token's unverified iss: only that issuer's keys,
// algorithms, audience and mapping will be used.
func (v *verification) checkIssuer() error {
	iss := ""
	if value, ok := v.token.claims["iss"]; ok {
		if iss, ok = value.(string); !ok {
			return refuse(BadClaims, "iss is not a string")
		}
		if iss == "" {
			return refuse(UnknownIssuer, "")
		}
	}
	if v.issuer = v.chain.issuers.Load().byISS[iss]; v.issuer == nil {
		return refuse(UnknownIssuer, "")
	}
	v.keys = v.issuer.keys.Load()
	return nil
}

func (v *verification) checkAlgorithm() error {
	if !v.issuer.allows(v.token.alg) {
		return refuse(BadAlgorithm, "alg is not one of the issuer's")
	}
	return nil
}

// checkType refuses tokens that are not meant for a resource server: ID tokens (OpenID Connect Core
// sections 2 and 3.1.3.6), refresh and logout tokens, and tokens bound to a key (RFC 7800), whose
// possession we do not check.
func (v *verification) checkType() error {
	claims := v.token.claims
	for _, name := range []string{"at_hash", "c_hash", "events", "cnf"} {
		if has(claims, name) {
			return refuse(WrongType, "a bearer access token has no "+name)
		}
	}
	if has(claims, "nonce") && !has(claims, "scope") && !has(claims, "scp") && !has(claims, "client_id") {
		return refuse(WrongType, "a nonce and no scope: an ID token")
	}
	switch claims["typ"] { // Keycloak's
	case "ID", "Refresh", "Offline", "Logout", "DPoP":
		return refuse(WrongType, "typ is not an access token's")
	}
	if claims["token_use"] == "id" { // Cognito's
		return refuse(WrongType, "token_use is not an access token's")
	}
	if v.issuer.tenant != "" && !isEntraAccess(claims) {
		return refuse(WrongType, "neither azp nor appid: an ID token")
	}
	return nil
}

func has(claims map[string]any, name string) bool {
	_, ok := claims[name]
	return ok
}

func (v *verification) checkTimes() (err error) {
	if v.times, err = readValidity(v.token.claims, v.issuer.nullExpiry); err != nil {
		return err
	}
	return v.times.check(v.at, v.issuer.Leeway, v.issuer.requireExpiry)
}

func (v *verification) checkLifetime() error {
	return v.times.checkLifetime(v.at, v.issuer.MaxLifetime)
}

func (v *verification) checkAudience() error {
	if v.issuer.Audience == nil {
		return nil
	}
	list, err := oneOrMore(v.token.claims, "aud")
	if err != nil {
		return err
	}
	if !intersect(list, v.issuer.Audience) {
		return refuse(WrongAudience, "")
	}
	return nil
}

func (v *verification) checkParty() error {
	if v.issuer.AuthorizedParties == nil {
		return nil
	}
	for _, name := range []string{"azp", "client_id", "appid"} {
		value, ok := v.token.claims[name]
		if !ok {
			continue
		}
		party, ok := value.(string)
		if !ok {
			return refuse(BadClaims, name+" is not a string")
		}
		if !slices.Contains(v.issuer.AuthorizedParties, party) {
			return refuse(WrongParty, "")
		}
		return nil
	}
	return refuse(WrongParty, "no azp, client_id or appid")
}

func (v *verification) checkRequired() error {
	for _, claim := range v.issuer.required {
		list, err := oneOrMore(v.token.claims, claim)
		if err != nil {
			return err
		}
		if !intersect(list, v.issuer.RequireClaims[claim]) {
			return refuse(WrongClaim, claim)
		}
	}
	return nil
}

// oneOrMore reads a claim that is a string or an array of strings, as aud is (RFC 7519 section
// 4.1.3).
func oneOrMore(claims map[string]any, name string) ([]string, error) {
	value, found, err := lookup(claims, name)
	if err != nil || !found {
		return nil, err
	}
	if s, ok := value.(string); ok {
		return []string{s}, nil
	}
	return lookupStrings(claims, name)
}

func intersect(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

func (v *verification) checkPrincipal() (err error) {
	if v.principal, err = v.issuer.readPrincipal(v.token.claims); err != nil {
		return err
	}
	v.principal.Expires = v.times.expires
	return nil
}

func (v *verification) checkRevocation() error {
	if v.chain.revocations.Load().revoked(v.token, v.issuer, v.principal, v.times.issued) {
		return refuse(Revoked, "")
	}
	return nil
}

// checkKey finds the candidate keys, before the expensive signature check.
func (v *verification) checkKey() error {
	switch {
	case v.keys.withdrawn, v.refused && v.keys.empty():
		return v.missing(UnknownKey)
	case v.keys.empty():
		v.issuer.refresh.request(v.now, "")
		return &Overloaded{NoKeys, retryAfter}
	case !v.keys.fits(v.token.alg):
		return v.missing(BadAlgorithm)
	}
	v.candidates, v.named = v.keys.candidates(v.token)
	if len(v.candidates) == 0 {
		return v.missing(UnknownKey)
	}
	return nil
}

func (v *verification) checkSignature() error {
	at, err := v.signer()
	switch {
	case err != nil:
		return err
	case at >= 0:
		v.key = v.candidates[at]
		return nil
	case v.named:
		return refuse(BadSignature, "")
	default:
		return v.missing(BadSignature)
	}
}

// signer waits for a slot of the gate and returns the index of the candidate that signed the token,
// -1 for none.
func (v *verification) signer() (int, error) {
	if v.refused {
		if !v.chain.gate.tryEnter() {
			return -1, &Overloaded{Busy, retryAfter}
		}
	} else if err := v.chain.gate.enter(v.ctx, v.issuer.Name, v.known); err != nil {
		return -1, err
	}
	defer v.chain.gate.leave()
	return slices.IndexFunc(v.candidates, func(c candidate) bool { return c.verify(v.token) }), nil
}

// missing returns the error for a token whose key is not among the issuer's: *Overloaded if newer
// keys may include it, otherwise a *Refusal with the code.
func (v *verification) missing(code Reason) error {
	if v.refused {
		return refuse(code, "")
	}
	if v.issuer.keys.Load() != v.keys { // new keys have just been set
		return &Overloaded{Refreshing, retryAfter}
	}
	if v.issuer.refresh.request(v.now, v.token.kid) {
		return &Overloaded{Refreshing, retryAfter}
	}
	return refuse(code, "")
}
