// Package configs reads the configuration file: its types, defaults and checks. Example files are
// in its directory.
//
// It reads the config.json of cc-metric-store unchanged, with the additions of RingStore. It
// reports all problems of a file at once, each with its file and key path. It is a leaf: it imports
// no package of RingStore but those below it, opens no port or data directory, and logs nothing.
// Warnings for the operator are in [Config.Warnings].
package configs

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/ringstore/ringstore/configs/secureurl"
)

// Config is a loaded configuration: all values are checked and all defaults are filled in. It is
// not changed after [Load] has returned it, so it may be read concurrently.
type Config struct {
	Main        Main              `json:"main"`
	Metrics     map[string]Metric `json:"metrics"` // by name; at least one
	MetricStore MetricStore       `json:"metric-store"`
	NATS        NATS              `json:"nats"`
	Auth        Auth              `json:"auth"`
	Limits      Limits            `json:"limits"`
	Explorer    Explorer          `json:"explorer"`
	Prometheus  Prometheus        `json:"prometheus"`

	// Warnings did not stop the configuration from loading, but should be logged at every start.
	Warnings []Problem `json:"-"`
}

// Main is section "main": the HTTP server.
type Main struct {
	// Addr is the host:port to listen on. Required.
	Addr string `json:"addr"`
	// MetricsAddr is a host:port that serves /metrics over HTTP without a token; empty: /metrics is
	// at Addr only, with a token.
	MetricsAddr string `json:"metrics-addr"`
	// AdminAddr is a host:port that serves the administrators' paths, which Addr then hides; empty:
	// they are at Addr. It is HTTPS like Addr, but HTTP on loopback.
	AdminAddr string `json:"admin-addr"`
	// HTTPSCertFile and HTTPSKeyFile are PEM files; either both are set (HTTPS) or none (HTTP).
	HTTPSCertFile string `json:"https-cert-file"`
	HTTPSKeyFile  string `json:"https-key-file"`
	// HTTPSClientCAFile is a PEM file of certificate authorities: a client needs a certificate of
	// one of them, in addition to its token. Empty: clients need no certificate.
	HTTPSClientCAFile string `json:"https-client-ca-file"`
	// HTTPSClientCRLFile is a PEM file of revocation lists, one of each authority in
	// HTTPSClientCAFile: a revoked certificate is refused. Empty: none is.
	HTTPSClientCRLFile string `json:"https-client-crl-file"`
	// JWTPublicKey is an Ed25519 public key, standard base64 of 32 bytes, or a [Reference] to one.
	// It may be empty if Auth.Issuers or Auth.Disabled is set.
	JWTPublicKey string `json:"jwt-public-key"`
	// User and Group are what the process changes to once the port is bound; empty: no change.
	User  string `json:"user"`
	Group string `json:"group"`
	// BackendURL is the URL of the cc-backend that knows the nodes of running jobs; empty: none. It
	// is used with Auth.Jobs.Backend.
	BackendURL string `json:"backend-url"`
	// Gzip compresses responses for clients that accept it. Default false: compressing takes more
	// CPU than the query.
	Gzip bool `json:"gzip"`
	// SlowQuery is the duration from which a query is logged; 0: no query is logged.
	SlowQuery time.Duration `json:"slow-query"`
	Debug     Debug         `json:"debug"`
}

// IsAdminOnLoopback reports whether only this machine can reach AdminAddr.
func (m Main) IsAdminOnLoopback() bool {
	host, _, err := net.SplitHostPort(m.AdminAddr)
	return err == nil && secureurl.IsLoopback(host)
}

// Metric is an entry of section "metrics".
type Metric struct {
	// Frequency is the interval between two samples in seconds, at least 1. Required.
	Frequency int64 `json:"frequency"`
	// Aggregation combines the values of devices into one value of their parent.
	Aggregation Aggregation `json:"aggregation"`
	// ExtraTags are tags that, like those of the path, distinguish series of this metric. Other
	// tags are ignored.
	ExtraTags []string `json:"extra-tags"`
	// Aliases are other names under which samples of this metric arrive, such as Telegraf's
	// system_load1 for cpu_load.
	Aliases []string `json:"aliases"`
	// Precision overrides metric-store.precision for this metric; nil: no override. See
	// [Config.Precision].
	Precision *int `json:"precision"`
	// Unit and Help describe the metric to people, such as in Grafana: "W", "Power of the package".
	Unit string `json:"unit"`
	Help string `json:"help"`
}

// Aggregation is how the values of devices are combined into one value of their parent.
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
	// MemoryCap is in GB (10^9 bytes); 0: no cap is configured. The function [MemoryCap] returns
	// the effective cap.
	MemoryCap int `json:"memory-cap"`
	// Precision is the number of significant bits of a value that are kept; 0: all. See
	// [Config.Precision].
	Precision int `json:"precision"`
	// CheckpointInterval is the time between two checkpoints. Default 10 minutes.
	CheckpointInterval time.Duration `json:"checkpoint-interval"`
	// NumWorkers is accepted from the files of cc-metric-store and has no effect.
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
	// MaxWALSize is the size of the journal in bytes that starts a checkpoint early; 0: 256 MiB.
	MaxWALSize int64 `json:"max-wal-size"`
	// Sync is SyncAlways, SyncOff, or the duration within which acknowledged samples are on disk.
	// Default 1s.
	Sync Sync `json:"sync"`
}

// Sync is when the journal is synced to disk.
type Sync string

const (
	SyncAlways Sync = "always" // before each acknowledgement
	SyncOff    Sync = "off"    // when the operating system decides
)

// Interval returns the duration of s, or 0 if s is not a duration.
func (s Sync) Interval() time.Duration {
	d, err := time.ParseDuration(string(s))
	if err != nil {
		return 0
	}
	return d
}

// Cleanup is "metric-store.cleanup": what happens to data older than the retention.
type Cleanup struct {
	Mode CleanupMode `json:"mode"` // default CleanupDelete
	// Directory is where CleanupArchive writes to. Required with CleanupArchive.
	Directory string `json:"directory"`
	// Encoding is that of the archive's files. Default EncodingCompatible.
	Encoding ArchiveEncoding `json:"encoding"`
}

// ArchiveEncoding is how the pages of the archive's files are encoded.
type ArchiveEncoding string

const (
	EncodingCompatible ArchiveEncoding = "compatible"
	EncodingCompact    ArchiveEncoding = "compact"
)

// CleanupMode is what happens to data older than the retention.
type CleanupMode string

const (
	CleanupDelete  CleanupMode = "delete"
	CleanupArchive CleanupMode = "archive"
)

// Debug is a "debug" object. Its unknown keys are warnings, not errors.
type Debug struct {
	// Gops starts the agent of github.com/google/gops.
	Gops bool `json:"gops"`
}

// Subscription is an entry of "metric-store.nats-subscriptions".
type Subscription struct {
	// SubscribeTo is a NATS subject, wildcards allowed. Required.
	SubscribeTo string `json:"subscribe-to"`
	// ClusterTag is the cluster of lines without a cluster; empty: such lines are refused.
	ClusterTag string `json:"cluster-tag"`
	// Authorization is never empty after loading. Required with an external server, unless
	// authentication is disabled. Default AuthorizationConnection with an embedded one.
	Authorization Authorization `json:"authorization"`
	// Guests lets clients without a token or password publish here, at an embedded server. In a
	// stream, unverifiable messages are then given up sooner. Not with AuthorizationConnection.
	Guests bool `json:"guests"`
	// Dialect is that of the messages: DialectInflux, or empty for that of cc-metric-collector.
	Dialect string `json:"dialect"`
	// Stream and Durable are the JetStream stream with the subject and its consumer; either both
	// are set or none. Missing ones are created. Two entries share a consumer only if they differ
	// in nothing but ClusterTag.
	Stream  string `json:"stream"`
	Durable string `json:"durable"`
}

// Authorization is how the permission to write is checked for messages of a subscription.
type Authorization string

const (
	// AuthorizationHeader requires a token in the Authorization header of each message.
	AuthorizationHeader Authorization = "header"
	// AuthorizationConnection requires that publishers connect with a token as password.
	AuthorizationConnection Authorization = "connection"
	// AuthorizationTrusted checks nothing: everyone who may publish on the NATS server may write.
	AuthorizationTrusted Authorization = "trusted"
)

// DialectInflux is line protocol with several fields per line, as Telegraf sends it. Each is a metric.
const DialectInflux = "influx"

// NATS is section "nats": the NATS server. At most one of Address and Embedded is set.
type NATS struct {
	// Address is one URL or several, separated by commas; empty: no external server. It may contain
	// credentials.
	Address  string `json:"address"`
	Username string `json:"username"`
	Password Secret `json:"password"` // or a [Reference] to it
	// CredsFilePath and NkeySeedFile are files with other kinds of credentials.
	CredsFilePath string `json:"creds-file-path"`
	NkeySeedFile  string `json:"nkey-seed-file"`
	// AuthCallout decides for the server at Address who may connect; nil: RingStore does not decide
	// this. AuthorizationConnection requires it with an external server.
	AuthCallout *AuthCallout `json:"auth-callout"`
	// Embedded runs a server inside this process instead; nil: none.
	Embedded *EmbeddedNATS `json:"embedded"`
}

// AuthCallout is "nats.auth-callout": the private halves of the keys in the server's auth_callout
// section.
type AuthCallout struct {
	AccountSeed Secret `json:"account-seed"` // nkey seed of auth_callout.issuer, or a [Reference] to it. Required
	XKeySeed    Secret `json:"xkey-seed"`    // nkey seed of auth_callout.xkey, or a reference; empty: requests are not encrypted
	Account     string `json:"account"`      // of the publishers. Default $G
}

// EmbeddedNATS is "nats.embedded".
type EmbeddedNATS struct {
	// Listen is the host:port of the server; port 0 selects a free port. Required.
	Listen string `json:"listen"`
	// TLSCertFile and TLSKeyFile are PEM files. If both are set, publishers must use TLS; one alone
	// is an error.
	TLSCertFile string `json:"tls-cert-file"`
	TLSKeyFile  string `json:"tls-key-file"`
	// ExpiryGrace is how long a connection stays open after its token has expired; nil: 5 minutes.
	ExpiryGrace *time.Duration `json:"expiry-grace"`
	// MaxConnections is the maximum number of open connections; 0: 65,536. MaxPayload is the
	// maximum size of a message in bytes; 0: 8 MiB.
	MaxConnections int   `json:"max-connections"`
	MaxPayload     int64 `json:"max-payload"`
	// MessagesPerSecond and BytesPerSecond limit what a connection may publish, on average over 5
	// s; 0: no limit; nil: [DefaultMessagesPerSecond] and [DefaultBytesPerSecond].
	MessagesPerSecond *int64 `json:"messages-per-second"`
	BytesPerSecond    *int64 `json:"bytes-per-second"`
}

// The limits of a connection to the embedded server, if none are configured.
const (
	DefaultMessagesPerSecond = 50_000
	DefaultBytesPerSecond    = 128 << 20
)

// Auth is section "auth".
type Auth struct {
	// Disabled makes everyone an administrator.
	Disabled bool `json:"disabled"`
	// Issuers are the issuers whose tokens are accepted, in addition to tokens that
	// main.jwt-public-key verifies.
	Issuers []Issuer `json:"issuers"`
	// Times are the rules for issuers without their own.
	Times
	// PollInterval is the time between two requests to JWKS URLs, discovery documents and vaults.
	// Default 5 minutes.
	PollInterval time.Duration `json:"poll-interval"`
	// RevocationFile lists tokens and subjects that are no longer accepted; empty: none. It is read
	// again when it changes.
	RevocationFile string  `json:"revocation-file"`
	AzureKV        AzureKV `json:"azure-kv"`
	// UsersRead is "" (users and managers read data of their own jobs only) or UsersReadAll.
	UsersRead string `json:"users-read"`
	// AuditLog is the file to which refusals are appended; empty: stderr.
	AuditLog string `json:"audit-log"`
	Jobs     Jobs   `json:"jobs"`
}

// UsersReadAll lets the roles user and manager query everything.
const UsersReadAll = "all"

// Limits is section "limits": limits of a request, a line and the store. All are at least 1.
type Limits struct {
	BodyBytes int64 `json:"body-bytes"` // of a request, after decompression. Default 64 MiB
	// ValuesPerQuery is how many values one query may read, whoever asks. Default nil: 50 million for
	// users and managers, no limit for admin, support and api.
	ValuesPerQuery *int64 `json:"values-per-query"`

	Hosts          int `json:"hosts"`            // in the store. Default 20,000
	DevicesPerHost int `json:"devices-per-host"` // default 16,384
	NameBytes      int `json:"name-bytes"`       // of a cluster, host, metric, type or id, at most 65,535. Default 256

	// ClustersMax is how many clusters there may be beside those in Clusters. Default 64.
	ClustersMax int `json:"clusters-max"`
	// Clusters are the limits of single clusters by name; those of "*" hold for every other cluster.
	Clusters map[string]ClusterLimits `json:"clusters"`

	// QueriesPerUser is how many queries of one principal with role user or manager run at once.
	// Default 4. QueriesPerService is the same for admin, support and api. Default 32.
	QueriesPerUser    int `json:"queries-per-user"`
	QueriesPerService int `json:"queries-per-service"`

	// Connections is how many HTTP connections may be open at main.addr. Default 16,384; three
	// quarters of them are reserved for clients that have shown an accepted token.
	Connections int `json:"connections"`
	// ConnectionsPerPeer is how many of one address may be open without one. Default 1,024.
	ConnectionsPerPeer int `json:"connections-per-peer"`
}

// Explorer is section "explorer": the web page at /.
type Explorer struct {
	// Disabled switches the page off: its paths are not found.
	Disabled bool `json:"disabled"`
}

// Prometheus is section "prometheus": how the series of remote write become series of hosts and devices.
type Prometheus struct {
	// Cluster is that of series without a label "cluster"; empty: such series are refused.
	Cluster string `json:"cluster"`
	// DeviceLabels are labels whose value is the id of a device, with its type: {"cpu": "hwthread"}.
	DeviceLabels map[string]string `json:"device-labels"`
	// SubtypeLabels are the same for a part of the node or device: {"device": "network"}.
	SubtypeLabels map[string]string `json:"subtype-labels"`
}

// ClusterLimits is an entry of "limits.clusters". 0 means no limit of its own.
type ClusterLimits struct {
	Hosts  int `json:"hosts"`
	Series int `json:"series"`
	// Memory in GB is what the cluster may keep while memory is short: 0 means an equal share.
	Memory int `json:"memory"`
}

// Precision returns the number of significant bits of a metric's values that are kept; 0: all. It
// is the metric's own precision or else that of the store. Whole numbers and short decimals always
// keep all bits.
func (c *Config) Precision(metric string) int {
	if own := c.Metrics[metric].Precision; own != nil {
		return *own
	}
	return c.MetricStore.Precision
}

// Secret is a string that formatting, logging and marshalling hide. Convert it to string to use it.
type Secret string

// Format implements [fmt.Formatter] for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// MarshalText implements [encoding.TextMarshaler], which encoding/json and log/slog follow.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

const hidden = "[hidden]"

// Subject is a NATS subject to subscribe to.
type Subject struct {
	Subject string
	// ClusterTag is the cluster of lines without a cluster. It is empty if the configuration has
	// none or several different ones for this subject: then each line must name its cluster.
	ClusterTag      string
	Authorization   Authorization
	Guests          bool
	Dialect         string
	Stream, Durable string
}

// Subjects returns the configured subscriptions, one per subject, in the file's order.
func (c *Config) Subjects() []Subject {
	var subjects []Subject
	for _, s := range c.MetricStore.Subscriptions {
		i := slices.IndexFunc(subjects, func(known Subject) bool { return known.Subject == s.SubscribeTo })
		switch {
		case i < 0:
			subjects = append(subjects, Subject{s.SubscribeTo, s.ClusterTag, s.Authorization, s.Guests, s.Dialect, s.Stream, s.Durable})
		case subjects[i].ClusterTag != s.ClusterTag:
			subjects[i].ClusterTag = ""
		}
	}
	return subjects
}

// defaults returns the configuration into which a file is decoded.
func defaults() *Config {
	return &Config{
		MetricStore: MetricStore{
			CheckpointInterval: 10 * time.Minute,
			Checkpoints:        Checkpoints{Directory: "./var/checkpoints", Sync: "1s"},
			Cleanup:            Cleanup{Mode: CleanupDelete, Encoding: EncodingCompatible},
		},
		Auth: Auth{
			PollInterval: 5 * time.Minute,
			Jobs:         Jobs{Backend: BackendJobs{PollInterval: 30 * time.Second}, MaxStaleness: 10 * time.Minute},
		},
		Limits: Limits{
			BodyBytes:      64 << 20,
			Hosts:          20_000,
			DevicesPerHost: 16_384,
			NameBytes:      256,
			ClustersMax:    64,

			Connections:        16_384,
			ConnectionsPerPeer: 1024,
			QueriesPerUser:     4,
			QueriesPerService:  32,
		},
	}
}
