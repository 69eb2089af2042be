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

	"github.com/nats-io/nats-server/v2/server"
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

// Authorization is how the right to write is checked on a subject.
type Authorization string

const (
	// Header wants a token in each message's header "Authorization: Bearer".
	Header Authorization = "header"
	// Trusted checks nothing: whoever may publish on the server may write.
	Trusted Authorization = "trusted"
)

// Subject is one subject to subscribe to.
type Subject struct {
	Subject       string        // as NATS has them, wildcards allowed
	ClusterTag    string        // cluster of lines that name none; empty if they have to
	Authorization Authorization // empty means Header
}

// Options of [Subscribe]. Ingester, Subjects and one of Address and Listen are
// required, Authenticator too unless every subject is Trusted (which is how
// everybody is let in where authentication is switched off).
type Options struct {
	// Address of the server to connect to: one URL or several, separated by
	// commas. It may carry credentials and is never logged.
	Address string
	// Listen is the host:port on which a server of our own, in this process,
	// takes publishers; port 0 means a free one. They connect with Username and
	// Password, or anyhow if these are empty, and may do nothing but publish
	// to Subjects.
	Listen string

	Username, Password string
	CredsFile          string // user JWT and seed, read at each connect; empty: none
	NkeySeedFile       string // empty: none

	Subjects []Subject
	Ingester Ingester

	Authenticator auth.Authenticator // an [auth.Cache] saves a signature check per message
	Policy        auth.Policy
	Audit         *auth.Audit // of who is turned away, by subject; nil: none

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
	if (o.Address == "") == (o.Listen == "") {
		return errors.New("one of address and embedded server is needed, and not both")
	}
	if o.Ingester == nil {
		return errors.New("no ingester")
	}
	if err := o.mergeSubjects(); err != nil {
		return err
	}
	if o.Authenticator == nil && slices.ContainsFunc(o.Subjects, func(s Subject) bool { return s.Authorization == Header }) {
		return errors.New("no authenticator for the tokens in the messages")
	}
	if err := checkAddress(o.Address); err != nil {
		return err
	}
	if err := o.checkFiles(); err != nil {
		return err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&o.Workers, runtime.GOMAXPROCS(0))
	setDefault(&o.PendingMessages, 64<<10)
	setDefault(&o.PendingBytes, 64<<20)
	setDefault(&o.MaxBody, 64<<20)
	setDefault(&o.ReconnectWait, 2*time.Second)
	return nil
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// mergeSubjects leaves each subject once. One that came with several cluster
// tags has none, so that its lines need their own.
func (o *Options) mergeSubjects() error {
	if len(o.Subjects) == 0 {
		return errors.New("no subjects to subscribe to")
	}
	var merged []Subject
	for _, s := range o.Subjects {
		if s.Authorization == "" {
			s.Authorization = Header
		}
		if !server.IsValidSubject(s.Subject) || strings.ContainsFunc(s.Subject, notInSubject) {
			return fmt.Errorf("subject %q is not valid", s.Subject)
		}
		if s.Authorization != Header && s.Authorization != Trusted {
			return fmt.Errorf("subject %q: authorization %q is neither %q nor %q", s.Subject, s.Authorization, Header, Trusted)
		}
		i := slices.IndexFunc(merged, func(m Subject) bool { return m.Subject == s.Subject })
		switch {
		case i < 0:
			merged = append(merged, s)
		case merged[i].Authorization != s.Authorization:
			return fmt.Errorf("subject %q is there with two kinds of authorization", s.Subject)
		case merged[i].ClusterTag != s.ClusterTag:
			merged[i].ClusterTag = ""
		}
	}
	o.Subjects = merged
	return nil
}

func notInSubject(r rune) bool { return r <= ' ' || r == 0x7f }

// overlaps names pairs of subjects that one message can match, which is then
// handled for each.
func overlaps(subjects []Subject) (pairs [][2]string) {
	for i, a := range subjects {
		for _, b := range subjects[i+1:] {
			if server.SubjectsCollide(a.Subject, b.Subject) {
				pairs = append(pairs, [2]string{a.Subject, b.Subject})
			}
		}
	}
	return pairs
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
