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
	calloutQueue   = "ringstore" // every instance joins it, and one of them answers
	calloutWorkers = 512         // most wait, if any: a token of an unknown key is tried again until the keys are there
	calloutTime    = 1500 * time.Millisecond
	calloutRetry   = 100 * time.Millisecond
	globalAccount  = "$G"
)

// callout answers a NATS server that asks who may connect: ADR-26,
// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-26.md.
// What it signs lets one connection of one server publish, and is good for
// nothing else.
type callout struct {
	admission *admission
	issuer    nkeys.KeyPair
	xkey      nkeys.KeyPair // nil: requests come in the clear
	account   string        // of publishers
	bad       *note
	requests  chan *natsgo.Msg // unbuffered
	open      sync.WaitGroup   // requests that were not answered yet
}

func newCallout(o *Options, c *counters) (*callout, error) {
	out := &callout{
		admission: newAdmission(o, c),
		account:   cmp.Or(o.Callout.Account, globalAccount),
		bad:       newNote(o.Log, slog.LevelError, 1, "NATS auth callout cannot be answered"),
		requests:  make(chan *natsgo.Msg),
	}
	var err error
	out.issuer, err = nkeys.FromSeed([]byte(o.Callout.AccountSeed))
	if err == nil {
		err = isKind(out.issuer, nkeys.IsValidPublicAccountKey)
	}
	if err != nil {
		return nil, errors.New("auth callout: the account seed is no nkey seed of an account") // the library's error may quote it
	}
	if o.Callout.XKeySeed == "" {
		return out, nil
	}
	out.xkey, err = nkeys.FromCurveSeed([]byte(o.Callout.XKeySeed))
	if err == nil {
		err = isKind(out.xkey, nkeys.IsValidPublicCurveKey)
	}
	if err != nil {
		return nil, errors.New("auth callout: the xkey seed is no nkey seed of a curve key")
	}
	return out, nil
}

func isKind(pair nkeys.KeyPair, valid func(public string) bool) error {
	public, err := pair.PublicKey()
	if err == nil && !valid(public) {
		err = errors.New("another kind of key")
	}
	return err
}

func (c *callout) notes() []*note { return append(c.admission.notes(), c.bad) }

// answer answers one request, if it is one.
func (c *callout) answer(ctx context.Context, m *natsgo.Msg) {
	if err := c.respond(ctx, m); err != nil {
		c.bad.add(1, "error", clip(err.Error()))
	}
}

func (c *callout) respond(ctx context.Context, m *natsgo.Msg) error {
	request, serverKey, err := c.read(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, calloutTime)
	defer cancel()
	g, err := c.admit(ctx, request)
	response := jwt.NewAuthorizationResponseClaims(request.UserNkey)
	response.Audience = request.Server.ID
	if err == nil {
		response.Jwt, err = c.user(request.UserNkey, g).Encode(c.issuer)
	}
	if err != nil {
		response.Error = "refused" // the server logs it; why is ours to know
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

// read decrypts and checks a request, and returns the key to encrypt the answer
// with.
func (c *callout) read(m *natsgo.Msg) (request *jwt.AuthorizationRequestClaims, serverKey string, err error) {
	data := m.Data
	serverKey = m.Header.Get(server.AuthRequestXKeyHeader)
	switch {
	case serverKey == "" && c.xkey != nil:
		return nil, "", errors.New("it is not encrypted, and there is an xkey")
	case serverKey != "" && c.xkey == nil:
		return nil, "", errors.New("it is encrypted, and there is no xkey")
	case serverKey != "":
		if data, err = c.xkey.Open(data, serverKey); err != nil {
			return nil, "", errors.New("it is not encrypted for our xkey")
		}
	}
	request, err = jwt.DecodeAuthorizationRequestClaims(string(data))
	if err != nil { // which may quote what is in it
		return nil, "", errors.New("it is not signed by a server, or no request")
	}
	problems := jwt.CreateValidationResults()
	request.Validate(problems)
	switch {
	case problems.IsBlocking(true):
		return nil, "", errors.New("it is not valid, or too old")
	case request.Audience != server.AuthRequestSubject:
		return nil, "", errors.New("its audience is somebody else")
	case request.Issuer != request.Server.ID:
		return nil, "", errors.New("it is signed by another server than it names")
	}
	return request, serverKey, nil
}

// admit tries again while the fault is ours, as the server takes no answer for
// a refusal.
func (c *callout) admit(ctx context.Context, r *jwt.AuthorizationRequestClaims) (grant, error) {
	asks := request{
		host:  r.ClientInformation.Host,
		given: credential{r.ConnectOptions.Username, r.ConnectOptions.Password},
		token: r.ConnectOptions.Token,
	}
	for {
		g, err := c.admission.admit(ctx, asks)
		if _, refused := reasonOf(err); err == nil || refused {
			return g, err
		}
		select {
		case <-ctx.Done():
			return g, err
		case <-time.After(calloutRetry):
		}
	}
}

// user is what the server is told of somebody who may connect.
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
