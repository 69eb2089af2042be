package auth

import "time"

// Reason is a short, stable code for why somebody was turned away, for the audit and for metrics. The constants
// below are all there are.
type Reason string

// Why a token, or a request's way of carrying one, is refused.
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
	WrongType         Reason = "wrong_type"     // another kind of token than an access token
	WrongAudience     Reason = "wrong_audience" // for another service
	WrongParty        Reason = "wrong_party"    // given to a client that is not listed
	WrongTenant       Reason = "wrong_tenant"   // the tid contradicts the issuer
	WrongClaim        Reason = "wrong_claim"    // a required claim is absent or has another value
	TooLongLived      Reason = "too_long_lived"
	Revoked           Reason = "revoked"
)

// Why a principal is denied an action.
const (
	InsufficientRole Reason = "insufficient_role"
	NoJobSource      Reason = "no_job_source"
	OtherCluster     Reason = "other_cluster" // the role holds on other clusters
)

// A Refusal is the error for a token that was not accepted: we do not know who is asking (HTTP 401).
type Refusal struct {
	Code Reason
	// Detail says more, in words fixed in this package: nothing of the token gets into it.
	Detail string
}

// Error names the code and the detail. It is safe to log, and too talkative for a client.
func (r *Refusal) Error() string {
	if r.Detail == "" {
		return "token refused: " + string(r.Code)
	}
	return "token refused: " + string(r.Code) + ": " + r.Detail
}

// Public is what a client may be told: the same words whatever was wrong.
func (*Refusal) Public() string { return "a valid bearer token is required" }

// Denied is the error for a good token whose principal may not do what it asked for (HTTP 403).
type Denied struct {
	Action Action
	Code   Reason
}

// Error names the action and the code; it is safe to log.
func (d *Denied) Error() string { return d.Action.String() + " denied: " + string(d.Code) }

// Public is what a client may be told: the same words whatever was asked for.
func (*Denied) Public() string { return "the token's roles do not permit this" }

// Why nothing can be said of a token at the moment.
const (
	Busy       Reason = "busy"            // too many tokens to verify at once
	NoKeys     Reason = "no_keys"         // the issuer's keys have not been fetched yet
	Refreshing Reason = "refreshing_keys" // the token's key is being looked for
)

// Overloaded is the error for a token that was not looked into: it may be good, and the client should come again
// (HTTP 503 with Retry-After).
type Overloaded struct {
	Code       Reason
	RetryAfter time.Duration
}

// Error names the code; it is safe to log.
func (o *Overloaded) Error() string { return "token not verified: " + string(o.Code) }

// Public is what a client may be told.
func (*Overloaded) Public() string { return "tokens cannot be verified at the moment" }

func refuse(code Reason, detail string) error { return &Refusal{Code: code, Detail: detail} }
