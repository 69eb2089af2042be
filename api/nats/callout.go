package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

const (
	calloutQueue         = "ringstore" // of all instances; one of them answers
	calloutWorkers       = 512         // mostly waiting for keys, see admit
	calloutTimeout       = 1500 * time.Millisecond
	calloutRetryInterval = 100 * time.Millisecond
	globalAccount        = "$G"
)

// callout answers an external NATS server that asks who may connect: ADR-26,
// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-26.md.
// What it signs permits one connection of one server to publish, and nothing else.
type callout struct {
	admission  *admission
	issuer     nkeys.KeyPair
	xkey       nkeys.KeyPair // nil: requests are not encrypted
	account    string        // of publishers
	failures   *rateLimitedLog
	requests   chan *natsgo.Msg // unbuffered
	unanswered sync.WaitGroup   // requests without an answer yet
}

func newCallout(o *Options, c *counters) (*callout, error) {
	out := &callout{
		admission: newAdmission(o, c),
		account:   cmp.Or(o.Callout.Account, globalAccount),
		failures:  newRateLimitedLog(o.Log, slog.LevelError, 1, "NATS auth callout not answered"),
		requests:  make(chan *natsgo.Msg),
	}
	var err error
	out.issuer, out.xkey, err = o.Callout.keys()
	if err != nil {
		return nil, err
	}
	return out, nil
}

// keys returns the keys of the seeds. xkey is nil without a seed.
func (c *Callout) keys() (issuer, xkey nkeys.KeyPair, err error) {
	issuer, err = nkeys.FromSeed([]byte(c.AccountSeed))
	if err == nil {
		err = checkKind(issuer, nkeys.IsValidPublicAccountKey)
	}
	if err != nil { // it may quote the seed
		return nil, nil, errors.New("auth callout: account seed: expected an nkey seed of an account")
	}
	if c.XKeySeed == "" {
		return issuer, nil, nil
	}
	xkey, err = nkeys.FromCurveSeed([]byte(c.XKeySeed))
	if err == nil {
		err = checkKind(xkey, nkeys.IsValidPublicCurveKey)
	}
	if err != nil {
		return nil, nil, errors.New("auth callout: xkey seed: expected an nkey seed of a curve key")
	}
	return issuer, xkey, nil
}

// checkKind returns an error if the key is of another kind.
func checkKind(pair nkeys.KeyPair, valid func(public string) bool) error {
	public, err := pair.PublicKey()
	if err == nil && !valid(public) {
		err = errors.New("wrong kind of key")
	}
	return err
}

func (c *callout) limitedLogs() []*rateLimitedLog {
	return append(c.admission.limitedLogs(), c.failures)
}

// answer answers one message, unless it is no valid request.
func (c *callout) answer(ctx context.Context, m *natsgo.Msg) {
	if err := c.respond(ctx, m); err != nil {
		c.failures.add(1, "error", truncated(err.Error()))
	}
}

func (c *callout) respond(ctx context.Context, m *natsgo.Msg) error {
	request, serverKey, err := c.read(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, calloutTimeout)
	defer cancel()
	g, err := c.admit(ctx, request)
	response := jwt.NewAuthorizationResponseClaims(request.UserNkey)
	response.Audience = request.Server.ID
	if err == nil {
		response.Jwt, err = c.user(request.UserNkey, g).Encode(c.issuer)
	}
	if err != nil {
		response.Error = "refused" // for the server's log; the reason is in ours
	}
	text, err := response.Encode(c.issuer)
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	data := []byte(text)
	if serverKey != "" {
		if data, err = c.xkey.Seal(data, serverKey); err != nil {
			return fmt.Errorf("encrypting: %w", err)
		}
	}
	return m.Respond(data)
}

// read decrypts and checks a request, and returns the key to encrypt the answer with, if any.
func (c *callout) read(m *natsgo.Msg) (request *jwt.AuthorizationRequestClaims, serverKey string, err error) {
	data := m.Data
	serverKey = m.Header.Get(server.AuthRequestXKeyHeader)
	switch {
	case serverKey == "" && c.xkey != nil:
		return nil, "", errors.New("the request is not encrypted, but an xkey is configured")
	case serverKey != "" && c.xkey == nil:
		return nil, "", errors.New("the request is encrypted, but no xkey is configured")
	case serverKey != "":
		if data, err = c.xkey.Open(data, serverKey); err != nil {
			return nil, "", errors.New("the request is not encrypted for our xkey")
		}
	}
	request, err = jwt.DecodeAuthorizationRequestClaims(string(data))
	if err != nil { // it may quote the request
		return nil, "", errors.New("not a request, or not signed by a server")
	}
	problems := jwt.CreateValidationResults()
	request.Validate(problems)
	switch {
	case problems.IsBlocking(true):
		return nil, "", errors.New("the request is not valid, or too old")
	case request.Audience != server.AuthRequestSubject:
		return nil, "", errors.New("the request has the wrong audience")
	case request.Issuer != request.Server.ID:
		return nil, "", errors.New("the request names another server than it is signed by")
	}
	return request, serverKey, nil
}

// admit decides a request. It retries while the fault is ours, such as missing keys: to the server,
// no answer is a refusal.
func (c *callout) admit(ctx context.Context, claims *jwt.AuthorizationRequestClaims) (grant, error) {
	r := request{
		host:  claims.ClientInformation.Host,
		given: credential{claims.ConnectOptions.Username, claims.ConnectOptions.Password},
		token: claims.ConnectOptions.Token,
	}
	for {
		g, err := c.admission.admit(ctx, r)
		if _, refused := reasonOf(err); err == nil || refused {
			return g, err
		}
		select {
		case <-ctx.Done():
			return g, err
		case <-time.After(calloutRetryInterval):
		}
	}
}

// user returns the claims that permit a client to connect and publish.
func (c *callout) user(key string, g grant) *jwt.UserClaims {
	u := jwt.NewUserClaims(key)
	u.Name = g.principal.Subject
	u.Audience = c.account // ADR-26: the account that the user is placed in
	if exp := g.principal.Expires; !exp.IsZero() {
		u.Expires = exp.Unix()
	}
	u.Permissions.Pub.Allow.Add(g.subjects...)
	u.Permissions.Pub.Deny.Add(notForPublishers[:]...)
	u.Permissions.Sub.Deny.Add(">")
	u.AllowedConnectionTypes.Add(jwt.ConnectionTypeStandard)
	return u
}
