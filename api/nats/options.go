// Package nats is the NATS door: it takes messages with line protocol from a
// NATS server, or from one that it runs inside this process, checks that the
// sender may write, and hands the bodies to package ingest.
//
// It adapts and decides nothing: who a token speaks for and what that may do
// is package auth's to say, what a line means package ingest's. It knows no
// configuration file and no store.
package nats

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nkeys"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/auth"
)

// Ingester stores batches of line protocol; [ingest.Ingester] is one. It must
// not keep the batch.
type Ingester interface {
	Batch(ctx context.Context, src ingest.Source, batch []byte) (ingest.Report, error)
	Stream(ctx context.Context, src ingest.Source, r io.Reader) (ingest.Report, error)
}

// Authenticator turns a token into a Principal; [auth.Cache] is one, and saves a signature check per
// message.
type Authenticator interface {
	auth.Authenticator
	// AuthenticateAt holds the token's exp, nbf and iat against an earlier moment, its key and the
	// revocations against now.
	AuthenticateAt(ctx context.Context, token string, at time.Time) (*auth.Principal, error)
	// Generation changes when a token that was accepted may no longer be.
	Generation() uint64
}

// Embedded says how the server in this process is run. Listen is required.
type Embedded struct {
	// Listen is the host:port for publishers, who may do nothing but publish to
	// Subjects; port 0 means a free one.
	Listen            string
	CertFile, KeyFile string // PEM; both, and publishers have to use TLS, or neither

	// ExpiryGrace is how long a connection outlives its token; 0 means five
	// minutes, less means not at all.
	ExpiryGrace time.Duration

	MaxConnections int   // default 65,536
	MaxPayload     int32 // bytes of a message with its headers; default 8 MiB, at most 64 MiB
	// MessagesPerSecond and BytesPerSecond are what one connection may publish
	// on average over a few seconds; one that exceeds them is closed. 0: no limit.
	MessagesPerSecond, BytesPerSecond int64

	// StoreDir is where the streams are kept, made if missing. Required if a
	// subject has one.
	StoreDir string
}

// Callout answers a server elsewhere that asks who may connect (ADR-26). All
// but XKeySeed and Account are required.
type Callout struct {
	AccountSeed string // nkey seed whose public key is the server's auth_callout.issuer
	XKeySeed    string // nkey seed of the server's auth_callout.xkey; empty: requests come in the clear
	Account     string // that publishers are put into; empty means $G
}

// Options of [Subscribe]. Ingester, Subjects and one of Address and Embedded
// are required, Authenticator too unless every subject is Trusted (which is how
// everybody is let in where authentication is switched off).
type Options struct {
	// Address of the server to connect to: one URL or several, separated by
	// commas. It may carry credentials and is never logged.
	Address  string
	Embedded *Embedded // runs a server of our own instead

	// Username and Password are ours at a server elsewhere. At an embedded one
	// they are those of publishers without a token, who may publish to the
	// subjects that are not Connection; without both, anybody may.
	Username, Password string
	CredsFile          string   // user JWT and seed, read at each connect; empty: none
	NkeySeedFile       string   // empty: none
	Callout            *Callout // nil: the server elsewhere does not ask us

	Subjects []Subject
	Ingester Ingester
	// SyncPoint returns a function that returns when all that the Ingester has stored
	// between the two calls is on disk; messages of a stream are acknowledged then.
	// nil: it is as soon as it is stored.
	SyncPoint func() (sync func(context.Context) error)
	MaxAge    time.Duration // of the messages in a stream that is made here; 0: forever
	AckWait   time.Duration // until a message is delivered again; default 30 s

	Authenticator Authenticator
	Policy        auth.Policy
	Audit         *auth.Audit // of who is turned away; nil: none

	Log        *slog.Logger          // nil: none
	Registerer prometheus.Registerer // nil: none

	Workers         int           // messages handled at a time; default GOMAXPROCS
	PendingMessages int           // received and waiting, per subject; default 65,536
	PendingBytes    int           // the same in bytes; default 64 MiB. What is more is dropped
	MaxBody         int64         // bytes of a body after decompression; default 64 MiB
	ReconnectWait   time.Duration // between two attempts; default 2 s
}

// complete checks the options and fills the defaults in. Its errors quote no
// credentials.
func (o *Options) complete() error {
	if (o.Address == "") == (o.Embedded == nil) {
		return errors.New("one of address and embedded server is needed, and not both")
	}
	if o.Ingester == nil {
		return errors.New("no ingester")
	}
	var err error
	if o.Subjects, err = mergeSubjects(o.Subjects); err != nil {
		return err
	}
	for _, check := range []func() error{o.checkAuthorization, o.checkEmbedded, o.checkFiles} {
		if err := check(); err != nil {
			return err
		}
	}
	if err := checkAddress(o.Address); err != nil {
		return err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.SyncPoint == nil {
		o.SyncPoint = func() func(context.Context) error { return func(context.Context) error { return nil } }
	}
	setDefault(&o.Workers, runtime.GOMAXPROCS(0))
	setDefault(&o.PendingMessages, 64<<10)
	setDefault(&o.PendingBytes, 64<<20)
	setDefault(&o.MaxBody, 64<<20)
	setDefault(&o.ReconnectWait, 2*time.Second)
	setDefault(&o.AckWait, 30*time.Second)
	return nil
}

// checkAuthorization makes sure that what the subjects ask for can be had.
func (o *Options) checkAuthorization() error {
	if o.Authenticator == nil && slices.ContainsFunc(o.Subjects, func(s Subject) bool { return s.Authorization != Trusted }) {
		return errors.New("no authenticator for the publishers' tokens")
	}
	connection := slices.ContainsFunc(o.Subjects, func(s Subject) bool { return s.Authorization == Connection })
	if connection && o.Embedded == nil && o.Callout == nil {
		return fmt.Errorf("authorization %q needs an embedded server, or the keys for the server's auth callout", Connection)
	}
	if o.Callout != nil && o.Embedded != nil {
		return errors.New("an embedded server has no auth callout")
	}
	return nil
}

// checkEmbedded also fills the defaults in.
func (o *Options) checkEmbedded() error {
	if o.Embedded == nil {
		return nil
	}
	e := *o.Embedded
	o.Embedded = &e
	if (e.CertFile == "") != (e.KeyFile == "") {
		return errors.New("embedded server: TLS needs both a certificate and its key")
	}
	if e.MaxPayload > mostPayload {
		return fmt.Errorf("embedded server: a payload of more than %d bytes", mostPayload)
	}
	if e.StoreDir == "" && slices.ContainsFunc(o.Subjects, func(s Subject) bool { return s.Stream != "" }) {
		return errors.New("embedded server: no directory for the streams")
	}
	if e.ExpiryGrace == 0 {
		e.ExpiryGrace = 5 * time.Minute
	}
	e.ExpiryGrace = max(e.ExpiryGrace, 0)
	setDefault(&e.MaxConnections, 64<<10)
	setDefault(&e.MaxPayload, 8<<20)
	return nil
}

func setDefault[T int | int32 | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// checkAddress keeps what is not a URL from the client, whose errors would
// quote it with the credentials in it.
func checkAddress(address string) error {
	if address == "" {
		return nil
	}
	for i, one := range strings.Split(address, ",") {
		one = strings.TrimSpace(one)
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil || u.Hostname() == "" {
			return fmt.Errorf("address %d is not a URL of a server", i+1)
		}
		if !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return fmt.Errorf("address %d: the scheme is none of nats, tls, ws, wss", i+1)
		}
	}
	return nil
}

// checkFiles reads the credential files once, as the client would only say at
// each connect that it cannot.
func (o *Options) checkFiles() error {
	if o.CredsFile != "" && o.NkeySeedFile != "" {
		return errors.New("a creds file and an nkey seed file exclude each other")
	}
	if o.CredsFile != "" {
		creds, err := os.ReadFile(o.CredsFile)
		if err != nil {
			return fmt.Errorf("creds file: %w", err)
		}
		if _, err := nkeys.ParseDecoratedUserNKey(creds); err != nil {
			return fmt.Errorf("creds file %s holds no user seed", o.CredsFile)
		}
	}
	if o.NkeySeedFile != "" {
		seed, err := os.ReadFile(o.NkeySeedFile)
		if err != nil {
			return fmt.Errorf("nkey seed file: %w", err)
		}
		if _, err := nkeys.ParseDecoratedNKey(seed); err != nil {
			return fmt.Errorf("nkey seed file %s holds no seed", o.NkeySeedFile)
		}
	}
	return nil
}
