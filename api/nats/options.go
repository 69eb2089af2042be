// Package nats is the NATS transport: it receives messages with line protocol from an external NATS
// server, or from one that it runs in this process, checks that the sender may write, and passes
// the bodies to package ingest.
//
// It makes no decisions of its own: package auth decides whom a token identifies and what that
// principal may do, package ingest what a line means. It knows no configuration file and no store.
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

// Ingester stores batches of line protocol; [ingest.Ingester] is one. It must not keep the batch.
type Ingester interface {
	Batch(ctx context.Context, src ingest.Source, batch []byte) (ingest.Report, error)
	Stream(ctx context.Context, src ingest.Source, r io.Reader) (ingest.Report, error)
}

// Authenticator turns a token into a Principal; [auth.Cache] is one, and saves a signature check
// per message.
type Authenticator interface {
	auth.Authenticator
	// AuthenticateAt checks the token's exp, nbf and iat for an earlier time, but its key and
	// revocation for now.
	AuthenticateAt(ctx context.Context, token string, at time.Time) (*auth.Principal, error)
	// Generation changes when tokens that were accepted may now be refused.
	Generation() uint64
}

// Embedded configures the server in this process. Listen is required.
type Embedded struct {
	// Listen is the host:port for publishers, which may only publish to Subjects. Port 0 means a
	// free one.
	Listen            string
	CertFile, KeyFile string // PEM; with both, publishers must use TLS; set both or neither

	// ExpiryGrace is how long a connection outlives its token. 0 means five minutes, a negative
	// value no grace.
	ExpiryGrace time.Duration

	MaxConnections int   // default 65,536
	MaxPayload     int32 // bytes of a message with its headers; default 8 MiB, at most 64 MiB
	// MessagesPerSecond and BytesPerSecond limit what one connection publishes, on average over a
	// few seconds. A connection that exceeds them is closed. 0: no limit.
	MessagesPerSecond, BytesPerSecond int64

	// StoreDir is the directory of the streams, created if missing. Required if a subject has a
	// stream.
	StoreDir string
}

// Callout configures the answers to an external server that asks who may connect (ADR-26).
// AccountSeed is required.
type Callout struct {
	AccountSeed string // nkey seed whose public key is the server's auth_callout.issuer
	XKeySeed    string // nkey seed of the server's auth_callout.xkey; empty: no encryption
	Account     string // that publishers belong to; empty means $G
}

// Options of [Subscribe]. Ingester, Subjects and one of Address and Embedded are required.
// Authenticator is required unless every subject is Trusted, as with authentication disabled.
type Options struct {
	// Address is the URL of the external server, or several, separated by commas. It may contain
	// credentials and is never logged.
	Address  string
	Embedded *Embedded // replaces Address by a server in this process

	// Username and Password are ours at an external server. At an embedded one they are those of
	// publishers without a token, which may publish to the subjects that are not Connection. Clients
	// without any of these may publish to subjects with Guests only.
	Username, Password string
	CredsFile          string   // with user JWT and seed, read at each connect; empty: none
	NkeySeedFile       string   // empty: none
	Callout            *Callout // nil: the external server does not ask us

	Subjects []Subject
	Ingester Ingester
	// SyncPoint returns a function that returns when everything that the Ingester stored between
	// the two calls is on disk. Messages of a stream are acknowledged after that. nil: they are
	// acknowledged when stored.
	SyncPoint func() (sync func(context.Context) error)
	// Settle is told that no message of a stream up to a sequence number will be delivered again; see
	// [memstore.Store.Settle]. May be nil.
	Settle  func(stream, sequence uint64)
	MaxAge  time.Duration // of messages in streams created here; 0: forever
	AckWait time.Duration // before an unacknowledged message is delivered again; default 30 s

	Authenticator Authenticator
	Policy        auth.Policy
	Audit         *auth.Audit // of refusals; nil: none

	Log        *slog.Logger          // nil: none
	Registerer prometheus.Registerer // nil: none

	Workers         int           // messages handled concurrently; default GOMAXPROCS
	PendingMessages int           // waiting per subject, others are dropped; default 65,536
	PendingBytes    int           // the same limit in bytes; default 64 MiB
	MaxBody         int64         // bytes of a decompressed body; default 64 MiB
	ReconnectWait   time.Duration // between two attempts; default 2 s
}

// complete checks the options and sets the defaults. Its errors quote no credentials.
func (o *Options) complete() error {
	if (o.Address == "") == (o.Embedded == nil) {
		return errors.New("expected either an address or an embedded server, not both")
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
	if o.Settle == nil {
		o.Settle = func(uint64, uint64) {}
	}
	setDefault(&o.Workers, runtime.GOMAXPROCS(0))
	setDefault(&o.PendingMessages, 64<<10)
	setDefault(&o.PendingBytes, 64<<20)
	setDefault(&o.MaxBody, 64<<20)
	setDefault(&o.ReconnectWait, 2*time.Second)
	setDefault(&o.AckWait, 30*time.Second)
	return nil
}

// checkAuthorization checks that the options include what the subjects' authorization needs.
func (o *Options) checkAuthorization() error {
	if o.Authenticator == nil && slices.ContainsFunc(o.Subjects, func(s Subject) bool { return s.Authorization != Trusted }) {
		return errors.New("no authenticator for the publishers' tokens")
	}
	connection := slices.ContainsFunc(o.Subjects, func(s Subject) bool { return s.Authorization == Connection })
	if connection && o.Embedded == nil && o.Callout == nil {
		return fmt.Errorf("authorization %q needs an embedded server, or an auth callout's keys", Connection)
	}
	if o.Callout != nil && o.Embedded != nil {
		return errors.New("an embedded server has no auth callout")
	}
	return nil
}

// checkEmbedded checks the embedded server's options and sets its defaults.
func (o *Options) checkEmbedded() error {
	if o.Embedded == nil {
		return nil
	}
	e := *o.Embedded
	o.Embedded = &e
	if (e.CertFile == "") != (e.KeyFile == "") {
		return errors.New("embedded server: TLS needs both a certificate and its key")
	}
	if e.MaxPayload > maxPayload {
		return fmt.Errorf("embedded server: payload: expected at most %d bytes, got %d", maxPayload, e.MaxPayload)
	}
	if e.StoreDir == "" && slices.ContainsFunc(o.Subjects, func(s Subject) bool { return s.Stream != "" }) {
		return errors.New("embedded server: no directory for streams")
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

// checkAddress rejects what is not a URL, as the client library's errors would quote it with its
// credentials.
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
			return fmt.Errorf("address %d: expected a URL with a host", i+1)
		}
		if !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return fmt.Errorf("address %d: the scheme must be nats, tls, ws or wss", i+1)
		}
	}
	return nil
}

// CheckFiles reads the files with credentials and certificates, and the seeds of an auth callout,
// and returns what is wrong with them. [Subscribe] does the same.
func (o Options) CheckFiles() error {
	errs := []error{o.checkFiles()}
	if o.Embedded != nil {
		_, err := o.Embedded.certificate()
		errs = append(errs, err)
	}
	if o.Callout != nil {
		_, _, err := o.Callout.keys()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// checkFiles reads the credential files once, to report at start what the client library would
// report only at each connect.
func (o *Options) checkFiles() error {
	if o.CredsFile != "" && o.NkeySeedFile != "" {
		return errors.New("set a creds file or an nkey seed file, not both")
	}
	if o.CredsFile != "" {
		creds, err := os.ReadFile(o.CredsFile)
		if err != nil {
			return fmt.Errorf("creds file: %w", err)
		}
		if _, err := nkeys.ParseDecoratedUserNKey(creds); err != nil {
			return fmt.Errorf("creds file %s: no user seed in it", o.CredsFile)
		}
	}
	if o.NkeySeedFile != "" {
		seed, err := os.ReadFile(o.NkeySeedFile)
		if err != nil {
			return fmt.Errorf("nkey seed file: %w", err)
		}
		if _, err := nkeys.ParseDecoratedNKey(seed); err != nil {
			return fmt.Errorf("nkey seed file %s: no seed in it", o.NkeySeedFile)
		}
	}
	return nil
}
