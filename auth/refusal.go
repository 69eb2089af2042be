package auth

import (
	"cmp"
	"time"
)

// Reason is a short, stable code for why a request was refused, for the audit and for metrics. The
// constants below are the complete list.
type Reason string

// Reasons to refuse a token, or the way in which a request carries one.
const (
	Missing           Reason = "missing"
	UnsupportedScheme Reason = "unsupported_scheme"
	ConflictingTokens Reason = "conflicting_tokens"
	TooLarge          Reason = "too_large"
	Malformed         Reason = "malformed"
	BadAlgorithm      Reason = "bad_algorithm"
	UnsupportedCrit   Reason = "unsupported_crit"
	BadClaims         Reason = "bad_claims"
	NoExpiry          Reason = "no_expiry"
	Expired           Reason = "expired"
	NotYetValid       Reason = "not_yet_valid"
	IssuedInFuture    Reason = "issued_in_future"
	BadSignature      Reason = "bad_signature"
	UnknownIssuer     Reason = "unknown_issuer"
	UnknownKey        Reason = "unknown_key"
	WrongType         Reason = "wrong_type"     // not an access token
	WrongAudience     Reason = "wrong_audience" // for another service
	WrongParty        Reason = "wrong_party"    // issued to a client that is not listed
	WrongTenant       Reason = "wrong_tenant"   // the tid contradicts the issuer
	WrongClaim        Reason = "wrong_claim"    // a required claim is absent or has another value
	TooLongLived      Reason = "too_long_lived"
	Revoked           Reason = "revoked"
)

// Reasons to refuse a connection for its client certificate.
const (
	NoCertificate      Reason = "no_certificate"
	BadCertificate     Reason = "bad_certificate"
	RevokedCertificate Reason = "revoked_certificate"
)

// Reasons to deny a principal an action.
const (
	InsufficientRole Reason = "insufficient_role"
	NoJobSource      Reason = "no_job_source"
	OtherCluster     Reason = "other_cluster" // the role holds on other clusters
)

// A Refusal is the error for a token that is not accepted (HTTP 401).
type Refusal struct {
	Code Reason
	// Detail explains the code, in fixed words and names from the configuration. It contains
	// nothing of the token.
	Detail string

	description string
}

// descriptions are what a client may learn about a token that nothing else is wrong with.
var descriptions = map[Reason]string{
	Expired:     "the token has expired",
	NotYetValid: "the token is not valid yet",
}

// Error returns the code and the detail. It is safe to log, but reveals too much to a client.
func (r *Refusal) Error() string {
	if r.Detail == "" {
		return "token refused: " + string(r.Code)
	}
	return "token refused: " + string(r.Code) + ": " + r.Detail
}

// Public returns the message for clients: the Description, or else one that is the same for every
// code.
func (r *Refusal) Public() string { return cmp.Or(r.description, "a valid bearer token is required") }

// Description returns the error_description for clients (RFC 6750 section 3), usually empty. It
// says that a token has expired or is not valid yet, if the token passed all other checks, so that
// only its holder learns that.
func (r *Refusal) Description() string { return r.description }

// Denied is the error for a valid token whose principal may not do the action (HTTP 403).
type Denied struct {
	Action Action
	Code   Reason
}

// Error returns the action and the code. It is safe to log.
func (d *Denied) Error() string { return d.Action.String() + " denied: " + string(d.Code) }

// Public returns the message for clients, the same for every action.
func (d *Denied) Public() string {
	if d.Code == NoJobSource {
		return "no job source is configured"
	}
	return "the token's roles do not permit this"
}

// Reasons why a token cannot be verified at the moment.
const (
	Busy       Reason = "busy"            // too many tokens are being verified
	NoKeys     Reason = "no_keys"         // the issuer's keys have not been fetched yet
	Refreshing Reason = "refreshing_keys" // the issuer's keys are being fetched, the token's may be among them
)

// Overloaded is the error for a token that was not verified. It may be valid, and the client should
// retry (HTTP 503 with Retry-After).
type Overloaded struct {
	Code       Reason
	RetryAfter time.Duration
}

// Error returns the code. It is safe to log.
func (o *Overloaded) Error() string { return "token not verified: " + string(o.Code) }

// Public returns the message for clients.
func (*Overloaded) Public() string { return "tokens cannot be verified at the moment" }

func refuse(code Reason, detail string) error { return &Refusal{Code: code, Detail: detail} }
