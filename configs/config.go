// Package configs is the configuration file: its types, defaults and checks, with examples beside it.
//
// It reads the config.json of cc-metric-store unchanged, with the additions of RingStore, and it reports everything
// that is wrong with a file at once, by file and key path. It is a leaf: it imports no other package of RingStore,
// opens no port or data directory, and logs nothing. What an operator should know besides the errors is in
// [Config.Warnings].
package configs

import (
	"fmt"
	"slices"
	"time"
)

// Config is a loaded configuration: every value checked, every default filled in. It is not changed after [Load]
// returned it, so it may be read concurrently.
type Config struct {
	Main        Main              `json:"main"`
	Metrics     map[string]Metric `json:"metrics"` // by name; at least one
	MetricStore MetricStore       `json:"metric-store"`
	NATS        NATS              `json:"nats"`
	Auth        Auth              `json:"auth"`
	Limits      Limits            `json:"limits"`

	// Warnings are what did not stop the configuration from loading but should be logged at every start.
	Warnings []Problem `json:"-"`
}

// Main is section "main": the HTTP server.
type Main struct {
	// Addr is the host:port to listen on. Required.
	Addr string `json:"addr"`
	// MetricsAddr is a host:port where /metrics is served over HTTP without a token; empty: only at Addr, to who may.
	MetricsAddr string `json:"metrics-addr"`
	// HTTPSCertFile and HTTPSKeyFile are PEM files; both are set (HTTPS) or none (HTTP).
	HTTPSCertFile string `json:"https-cert-file"`
	HTTPSKeyFile  string `json:"https-key-file"`
	// HTTPSClientCAFile is a PEM file of authorities: whoever connects needs a certificate of one of them, and a token as
	// ever. Empty: anybody may connect.
	HTTPSClientCAFile string `json:"https-client-ca-file"`
	// JWTPublicKey is an Ed25519 public key, standard base64 of 32 bytes, or a [Reference] to one. It is empty only if
	// there are Auth.Issuers or Auth.Disabled.
	JWTPublicKey string `json:"jwt-public-key"`
	// User and Group are dropped to once the port is bound; empty: stay who we are.
	User  string `json:"user"`
	Group string `json:"group"`
	// BackendURL is the cc-backend that knows the nodes of running jobs; empty: none. It is asked with Auth.Jobs.Backend.
	BackendURL string `json:"backend-url"`
	// Gzip lets answers be compressed for clients that accept it. Default false: it costs more than the query.
	Gzip bool `json:"gzip"`
	// SlowQuery is how long a query may take before it is logged; 0: as long as it likes.
	SlowQuery time.Duration `json:"slow-query"`
	Debug     Debug         `json:"debug"`
}

// Metric is one entry of section "metrics".
type Metric struct {
	// Frequency is the interval between two samples in seconds, at least 1. Required.
	Frequency int64 `json:"frequency"`
	// Aggregation combines devices into their parent.
	Aggregation Aggregation `json:"aggregation"`
	// ExtraTags are tags that tell series of this metric apart besides those of the path; otherwise they are ignored.
	ExtraTags []string `json:"extra-tags"`
	// Aliases are other names that samples of this metric come under, such as Telegraf's system_load1 for cpu_load.
	Aliases []string `json:"aliases"`
	// Precision replaces metric-store.precision for this metric; nil: it does not. See [Config.Precision].
	Precision *int `json:"precision"`
}

// Aggregation is how the values of devices become the value of what holds them.
type Aggregation string

const (
	NoAggregation  Aggregation = ""    // null in the file: devices are not combined
	SumAggregation Aggregation = "sum" // such as power
	AvgAggregation Aggregation = "avg" // such as temperature
)

// MetricStore is section "metric-store": memory, disk and subscriptions.
type MetricStore struct {
	// RetentionInMemory is how long samples stay in memory. Required, positive.
	RetentionInMemory time.Duration `json:"retention-in-memory"`
	// MemoryCap is in GB (10^9 bytes), 0 for none of its own: see [MemoryCap] for the cap in force.
	MemoryCap int `json:"memory-cap"`
	// Precision is how many significant bits of a value are kept, 0 for all; see [Config.Precision].
	Precision int `json:"precision"`
	// CheckpointInterval is the time between two checkpoints. Default 10 minutes.
	CheckpointInterval time.Duration `json:"checkpoint-interval"`
	// NumWorkers is how many goroutines write checkpoints; 0 or less: as many as fit the machine.
	NumWorkers    int            `json:"num-workers"`
	Checkpoints   Checkpoints    `json:"checkpoints"`
	Cleanup       Cleanup        `json:"cleanup"`
	Debug         Debug          `json:"debug"`
	Subscriptions []Subscription `json:"nats-subscriptions"` // as in the file; see [Config.Subjects]
}

// Checkpoints is "metric-store.checkpoints". Its file-format is accepted and has no effect.
type Checkpoints struct {
	// Directory is relative to the working directory. Default ./var/checkpoints.
	Directory string `json:"directory"`
	// MaxWALSize is the journal's size in bytes that starts a checkpoint before its time; 0: 256 MiB.
	MaxWALSize int64 `json:"max-wal-size"`
	// Sync says when what was acknowledged is on disk: SyncAlways, SyncOff, or a duration after which it is. Default 1s.
	Sync Sync `json:"sync"`
}

// Sync is when the journal is synced.
type Sync string

const (
	SyncAlways Sync = "always" // before each acknowledgement
	SyncOff    Sync = "off"    // when the operating system writes it
)

// Interval is the duration that s is, 0 if it is none.
func (s Sync) Interval() time.Duration {
	d, err := time.ParseDuration(string(s))
	if err != nil {
		return 0
	}
	return d
}

// Cleanup is "metric-store.cleanup": what happens to data that leaves the retention.
type Cleanup struct {
	Mode CleanupMode `json:"mode"` // default CleanupDelete
	// Directory is where CleanupArchive writes. Required by that mode.
	Directory string `json:"directory"`
}

// CleanupMode is what happens to data that leaves the retention.
type CleanupMode string

const (
	CleanupDelete  CleanupMode = "delete"
	CleanupArchive CleanupMode = "archive"
)

// Debug is a "debug" object. Keys that it does not know are warned of, not refused.
type Debug struct {
	// Gops starts the agent of github.com/google/gops.
	Gops bool `json:"gops"`
}

// Subscription is one entry of "metric-store.nats-subscriptions".
type Subscription struct {
	// SubscribeTo is a NATS subject, wildcards allowed. Required.
	SubscribeTo string `json:"subscribe-to"`
	// ClusterTag is the cluster of lines that name none; empty: such lines are refused.
	ClusterTag string `json:"cluster-tag"`
	// Authorization is never empty after loading. Default AuthorizationConnection with an embedded server, otherwise
	// AuthorizationHeader.
	Authorization Authorization `json:"authorization"`
	// Stream and Durable name a JetStream stream that holds the subject and our consumer of it; both or none. They are
	// made if missing. No two entries share a consumer, unless they differ in nothing but ClusterTag.
	Stream  string `json:"stream"`
	Durable string `json:"durable"`
}

// Authorization is how the right to write is checked for the messages of a subscription.
type Authorization string

const (
	// AuthorizationHeader wants a token in each message's Authorization header.
	AuthorizationHeader Authorization = "header"
	// AuthorizationConnection wants a token as the password that a publisher connects with.
	AuthorizationConnection Authorization = "connection"
	// AuthorizationTrusted checks nothing: whoever may publish on the broker may write.
	AuthorizationTrusted Authorization = "trusted"
)

// NATS is section "nats": the server that messages come from. At most one of Address and Embedded is set.
type NATS struct {
	// Address is one URL or several, separated by commas; empty: no external server. It may carry credentials.
	Address  string `json:"address"`
	Username string `json:"username"`
	Password Secret `json:"password"` // or a [Reference] to it
	// CredsFilePath and NkeySeedFile are files with other kinds of credentials.
	CredsFilePath string `json:"creds-file-path"`
	NkeySeedFile  string `json:"nkey-seed-file"`
	// AuthCallout answers the server at Address, which asks who may connect; nil: it does not. AuthorizationConnection
	// needs it there.
	AuthCallout *AuthCallout `json:"auth-callout"`
	// Embedded runs a server inside this process instead; nil: none.
	Embedded *EmbeddedNATS `json:"embedded"`
}

// AuthCallout is "nats.auth-callout": what the server's auth_callout names the public halves of.
type AuthCallout struct {
	AccountSeed Secret `json:"account-seed"` // nkey seed of auth_callout.issuer, or a [Reference] to it. Required
	XKeySeed    Secret `json:"xkey-seed"`    // nkey seed of auth_callout.xkey, or a reference; empty: requests in the clear
	Account     string `json:"account"`      // that publishers are put into. Default $G
}

// EmbeddedNATS is "nats.embedded".
type EmbeddedNATS struct {
	// Listen is the host:port of the server; port 0 takes a free one. Required.
	Listen string `json:"listen"`
	// TLSCertFile and TLSKeyFile are PEM files; both are set, and publishers must use TLS, or none.
	TLSCertFile string `json:"tls-cert-file"`
	TLSKeyFile  string `json:"tls-key-file"`
	// ExpiryGrace is how long a connection outlives its token; nil: 5 minutes.
	ExpiryGrace *time.Duration `json:"expiry-grace"`
	// MaxConnections are open at a time; 0: 65,536. MaxPayload is the bytes of a message; 0: 8 MiB.
	MaxConnections int   `json:"max-connections"`
	MaxPayload     int64 `json:"max-payload"`
	// MessagesPerSecond and BytesPerSecond are what one connection may publish on average over 5 s; 0: no limit.
	MessagesPerSecond int64 `json:"messages-per-second"`
	BytesPerSecond    int64 `json:"bytes-per-second"`
}

// Auth is section "auth".
type Auth struct {
	// Disabled makes everyone an administrator.
	Disabled bool `json:"disabled"`
	// Issuers are whose tokens are accepted, besides those that main.jwt-public-key verifies.
	Issuers []Issuer `json:"issuers"`
	// Times are the rules for all issuers that don't have their own.
	Times
	// PollInterval is the time between two looks at JWKS URLs, discovery documents and vaults. Default 5 minutes.
	PollInterval time.Duration `json:"poll-interval"`
	// RevocationFile lists tokens and subjects that are not accepted any more; empty: none. Read again when it changes.
	RevocationFile string  `json:"revocation-file"`
	AzureKV        AzureKV `json:"azure-kv"`
	// UsersRead is "" (users and managers read their own jobs only) or UsersReadAll.
	UsersRead string `json:"users-read"`
	// AuditLog is the file that refusals are appended to; empty: stderr.
	AuditLog string `json:"audit-log"`
	Jobs     Jobs   `json:"jobs"`
}

// UsersReadAll lets the roles user and manager query everything.
const UsersReadAll = "all"

// Limits is section "limits": what one request, and one line, may cost. All are at least 1.
type Limits struct {
	BodyBytes      int64 `json:"body-bytes"`       // of a request, after decompression. Default 64 MiB
	ValuesPerQuery int64 `json:"values-per-query"` // default 20,000,000
	Hosts          int   `json:"hosts"`            // in the store. Default 20,000
	DevicesPerHost int   `json:"devices-per-host"` // default 16,384
	NameBytes      int   `json:"name-bytes"`       // of a cluster, host, metric, type or id, at most 65,535. Default 256
}

// Precision is how many significant bits of a metric's values are kept, 0 for all: the metric's own, or else that of
// the store. Whole numbers and short decimals keep all of theirs in any case.
func (c *Config) Precision(metric string) int {
	if own := c.Metrics[metric].Precision; own != nil {
		return *own
	}
	return c.MetricStore.Precision
}

// Secret is a string that formatting, logging and marshalling hide; convert it to string where it is used.
type Secret string

// Format implements [fmt.Formatter] for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// MarshalText implements [encoding.TextMarshaler], which encoding/json and log/slog follow.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

const hidden = "[hidden]"

// Subject is one NATS subject to subscribe to.
type Subject struct {
	Subject string
	// ClusterTag is the cluster of lines that name none. It is empty where the configuration gives none, or several
	// different ones for this subject: then each line needs a cluster of its own.
	ClusterTag      string
	Authorization   Authorization
	Stream, Durable string
}

// Subjects are the configured subscriptions, one per subject, in the file's order.
func (c *Config) Subjects() []Subject {
	var subjects []Subject
	for _, s := range c.MetricStore.Subscriptions {
		i := slices.IndexFunc(subjects, func(known Subject) bool { return known.Subject == s.SubscribeTo })
		switch {
		case i < 0:
			subjects = append(subjects, Subject{s.SubscribeTo, s.ClusterTag, s.Authorization, s.Stream, s.Durable})
		case subjects[i].ClusterTag != s.ClusterTag:
			subjects[i].ClusterTag = ""
		}
	}
	return subjects
}

// defaults is the configuration that a file is read over.
func defaults() *Config {
	return &Config{
		MetricStore: MetricStore{
			CheckpointInterval: 10 * time.Minute,
			Checkpoints:        Checkpoints{Directory: "./var/checkpoints", Sync: "1s"},
			Cleanup:            Cleanup{Mode: CleanupDelete},
		},
		Auth: Auth{
			PollInterval: 5 * time.Minute,
			Jobs:         Jobs{Backend: BackendJobs{PollInterval: 30 * time.Second}, MaxStaleness: 10 * time.Minute},
		},
		Limits: Limits{
			BodyBytes:      64 << 20,
			ValuesPerQuery: 20_000_000,
			Hosts:          20_000,
			DevicesPerHost: 16_384,
			NameBytes:      256,
		},
	}
}
