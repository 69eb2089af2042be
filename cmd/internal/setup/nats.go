package setup

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/ringstore/ringstore/api/nats"
	"github.com/ringstore/ringstore/configs"
)

// minAckWait is the minimum time that a message of a stream may take here before it is delivered
// again.
const minAckWait = 30 * time.Second

// NATS returns the options of NATS that the configuration gives. Without subjects there is nothing
// to subscribe to. jobs may be nil.
func NATS(ctx context.Context, cfg *configs.Config, jobs *JobSources) (nats.Options, error) {
	c := cfg.NATS
	if c.Address == "" && c.Embedded == nil {
		return nats.Options{}, nil
	}
	password, err := resolve(ctx, cfg, "nats.password", c.Password)
	if err != nil {
		return nats.Options{}, err
	}
	o := nats.Options{
		Address:      c.Address,
		Embedded:     embeddedNATS(cfg),
		Username:     c.Username,
		Password:     string(password),
		CredsFile:    c.CredsFilePath,
		NkeySeedFile: c.NkeySeedFile,
		MaxAge:       cfg.MetricStore.RetentionInMemory,
		AckWait:      max(minAckWait, 2*cfg.MetricStore.Checkpoints.Sync.Interval()),
		MaxBody:      cfg.Limits.BodyBytes,
	}
	if o.Callout, err = authCallout(ctx, cfg); err != nil {
		return o, err
	}
	for _, sub := range cfg.Subjects() {
		authorization := nats.Authorization(sub.Authorization)
		if cfg.Auth.Disabled {
			authorization = nats.Trusted
		}
		guests := sub.Guests || cfg.Auth.Disabled && c.Username == "" && c.Password == ""
		o.Subjects = append(o.Subjects, nats.Subject{
			Subject: sub.Subject, ClusterTag: sub.ClusterTag, Authorization: authorization, Guests: guests,
			EachField: sub.Dialect == configs.DialectInflux,
			Stream:    sub.Stream, Durable: sub.Durable,
		})
	}
	if jobs != nil && jobs.Events != nil {
		n := cfg.Auth.Jobs.NATS
		o.Subjects = append(o.Subjects, nats.Subject{
			Subject: n.Subject, Authorization: nats.Authorization(n.Authorization), Events: jobs.Events,
		})
	}
	return o, nil
}

func embeddedNATS(cfg *configs.Config) *nats.Embedded {
	e := cfg.NATS.Embedded
	if e == nil {
		return nil
	}
	o := &nats.Embedded{
		Listen:         e.Listen,
		CertFile:       e.TLSCertFile,
		KeyFile:        e.TLSKeyFile,
		MaxConnections: e.MaxConnections,
		MaxPayload:     int32(e.MaxPayload), // package configs has checked the range
		StoreDir:       filepath.Join(cfg.MetricStore.Checkpoints.Directory, "ringstore", "streams"),
	}
	o.MessagesPerSecond, o.BytesPerSecond = e.Rates()
	if e.ExpiryGrace != nil {
		o.ExpiryGrace = *e.ExpiryGrace
		if o.ExpiryGrace == 0 {
			o.ExpiryGrace = -1
		}
	}
	return o
}

func authCallout(ctx context.Context, cfg *configs.Config) (*nats.Callout, error) {
	c := cfg.NATS.AuthCallout
	if c == nil || cfg.Auth.Disabled {
		return nil, nil
	}
	account, err := resolve(ctx, cfg, "nats.auth-callout.account-seed", c.AccountSeed)
	if err != nil {
		return nil, err
	}
	xkey, err := resolve(ctx, cfg, "nats.auth-callout.xkey-seed", c.XKeySeed)
	if err != nil {
		return nil, err
	}
	if account == "" {
		return nil, ConfigError{errors.New("nats.auth-callout.account-seed: empty")}
	}
	return &nats.Callout{AccountSeed: string(account), XKeySeed: string(xkey), Account: c.Account}, nil
}
