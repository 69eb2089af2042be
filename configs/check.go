package configs

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/ringstore/ringstore/configs/secureurl"
)

// checker checks values of the right type and fills in defaults that depend on other values. Its
// messages show no value that could be or contain a secret.
type checker struct {
	config *Config
	found  *findings
	file   string // the main one
}

func (c checker) all() {
	c.main()
	c.backend()
	c.authentication()
	c.issuers()
	c.metrics()
	c.metricStore()
	c.subscriptions()
	c.nats()
	c.limits()
	c.prometheus()
	c.clusterLimits()
}

func (c checker) main() {
	m := c.config.Main
	if m.Addr == "" {
		c.fail("main.addr", `missing: the address to listen on, such as "0.0.0.0:8082"`)
	} else {
		c.hostPort("main.addr", m.Addr)
	}
	c.metricsAddr()
	c.adminAddr()
	if m.HTTPSCertFile != "" && m.HTTPSKeyFile == "" {
		c.fail("main.https-key-file", "missing: main.https-cert-file is set, and HTTPS needs both")
	}
	if m.HTTPSKeyFile != "" && m.HTTPSCertFile == "" {
		c.fail("main.https-cert-file", "missing: main.https-key-file is set, and HTTPS needs both")
	}
	if m.HTTPSClientCAFile != "" && m.HTTPSCertFile == "" {
		c.fail("main.https-client-ca-file", "needs main.https-cert-file: clients send certificates over HTTPS only")
	}
	if m.HTTPSClientCRLFile != "" && m.HTTPSClientCAFile == "" {
		c.fail("main.https-client-crl-file", "needs main.https-client-ca-file: it lists certificates of these authorities")
	}
}

func (c checker) metricsAddr() {
	const path = "main.metrics-addr"
	addr := c.config.Main.MetricsAddr
	if addr == "" {
		return
	}
	c.hostPort(path, addr)
	if host, _, err := net.SplitHostPort(addr); err == nil && !secureurl.IsLoopback(host) {
		c.warn(path, "other machines can reach this address and read the metrics without a token, including the names of token issuers and subjects")
	}
}

func (c checker) adminAddr() {
	const path = "main.admin-addr"
	if c.config.Main.AdminAddr == "" {
		return
	}
	c.hostPort(path, c.config.Main.AdminAddr)
	if !c.config.Main.IsAdminOnLoopback() && c.config.Main.HTTPSCertFile == "" {
		c.warn(path, "other machines can reach this address, and administrators' tokens are sent there without encryption; set main.https-cert-file and main.https-key-file, or use a loopback address")
	}
}

// demoKey is the public key of a key pair printed in the documentation of cc-backend and
// cc-metric-store.
const demoKey = "kzfYrYy+TzpanWZHJ5qSdMj5uKUWgq74BWhQG6copP0="

const (
	wantPublicKey   = "expected the 32 bytes of an Ed25519 public key in standard base64; got "
	printsPublicKey = `"ringstore key FILE" prints the key in this form`
)

func (c checker) authentication() {
	const path = "main.jwt-public-key"
	key, disabled := c.config.Main.JWTPublicKey, c.config.Auth.Disabled
	literal := c.valueOrReference(path, key)
	raw, err := base64.StdEncoding.DecodeString(key)
	switch {
	case key == "" && !disabled && len(c.config.Auth.Issuers) == 0:
		c.fail(path, `missing: give the issuer's Ed25519 public key ("ringstore key FILE" prints it), `+
			`or switch authentication off with "auth": {"disabled": true}`)
	case !literal:
	case err != nil:
		c.fail(path, wantPublicKey+"other text; "+printsPublicKey)
	case key != "" && len(raw) != 32:
		c.fail(path, wantPublicKey+"%d bytes; "+printsPublicKey, len(raw))
	case key == demoKey:
		c.warn(path, "is the demonstration key of ClusterCockpit: its private key is public, so anyone can create valid tokens")
	}
	if disabled {
		c.warn("auth.disabled", "no token is required: everyone who can reach this server is an administrator")
	}
	switch c.config.Auth.UsersRead {
	case "":
	case UsersReadAll:
		c.warn("auth.users-read", "the roles user and manager may query every job's data")
	default:
		c.fail("auth.users-read", `expected "all"; otherwise leave the key out`)
	}
}

// reservedTags are part of the path of a series, so they always distinguish series.
var reservedTags = []string{"cluster", "hostname", "host", "type", "type-id", "stype", "stype-id"}

// maxFrequency is one year in seconds.
const maxFrequency = 365 * 24 * 60 * 60

func (c checker) metrics() {
	if len(c.config.Metrics) == 0 {
		c.fail("metrics", `missing: the metrics to keep, such as {"cpu_load": {"frequency": 60, "aggregation": null}}`)
	}
	aliases := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(c.config.Metrics)) {
		path, m := joinKey("metrics", name), c.config.Metrics[name]
		c.name(path, "the name", name)
		if name == "" {
			c.fail(path, "the name is empty")
		}
		if m.Frequency < 1 || m.Frequency > maxFrequency {
			c.fail(path+".frequency", "expected 1 to %d seconds; got %d", maxFrequency, m.Frequency)
		}
		switch m.Aggregation {
		case NoAggregation, SumAggregation, AvgAggregation:
		default:
			c.fail(path+".aggregation", `expected "sum", "avg" or null; got %s`, quote(string(m.Aggregation)))
		}
		c.extraTags(path+".extra-tags", m.ExtraTags)
		c.aliases(path+".aliases", name, aliases)
		if m.Precision != nil {
			c.precision(path+".precision", *m.Precision)
		}
	}
}

// aliases checks the aliases of a metric. of maps the aliases of all metrics checked before to
// these metrics.
func (c checker) aliases(path, metric string, of map[string]string) {
	for i, alias := range c.config.Metrics[metric].Aliases {
		at := joinIndex(path, i)
		c.name(at, "the alias", alias)
		_, configured := c.config.Metrics[alias]
		switch {
		case alias == "":
			c.fail(at, "the alias is empty")
		case configured:
			c.fail(at, "%s is the name of a metric", quote(alias))
		case of[alias] != "":
			c.fail(at, "%s is already an alias of %s", quote(alias), quote(of[alias]))
		default:
			of[alias] = metric
		}
	}
}

// Fewer bits than minPrecision make a measurement useless; a float64 has maxPrecision bits after
// the leading one.
const minPrecision, maxPrecision = 8, 52

func (c checker) precision(path string, bits int) {
	if bits != 0 && (bits < minPrecision || bits > maxPrecision) {
		c.fail(path, "expected %d to %d significant bits, or 0 to keep all; got %d", minPrecision, maxPrecision, bits)
	}
}

// maxExtraTags is the maximum per metric: every tag multiplies the number of series.
const maxExtraTags = 16

func (c checker) extraTags(path string, tags []string) {
	if len(tags) > maxExtraTags {
		c.fail(path, "expected at most %d tags; got %d", maxExtraTags, len(tags))
		return
	}
	for i, tag := range tags {
		at := joinIndex(path, i)
		c.name(at, "the tag", tag)
		switch {
		case tag == "":
			c.fail(at, "the tag is empty")
		case slices.Contains(reservedTags, tag):
			c.fail(at, "%s is part of the path of a series already", quote(tag))
		case slices.Index(tags, tag) < i:
			c.fail(at, "%s is listed twice", quote(tag))
		}
	}
}

// maxMemoryCap in GB is more memory than any machine has, and does not overflow in bytes.
const maxMemoryCap = 1_000_000

func (c checker) metricStore() {
	s := c.config.MetricStore
	if s.RetentionInMemory == 0 {
		c.fail("metric-store.retention-in-memory", `missing: how long samples stay in memory, such as "48h"`)
	}
	if s.MemoryCap < 0 || s.MemoryCap > maxMemoryCap {
		c.fail("metric-store.memory-cap", "expected 0 to %d GB; got %d", maxMemoryCap, s.MemoryCap)
	}
	c.precision("metric-store.precision", s.Precision)
	checkpoints := &c.config.MetricStore.Checkpoints
	checkpoints.Directory = cmp.Or(checkpoints.Directory, defaults().MetricStore.Checkpoints.Directory)
	if checkpoints.MaxWALSize < 0 {
		c.fail("metric-store.checkpoints.max-wal-size", "expected 0 or a number of bytes; got %d", checkpoints.MaxWALSize)
	}
	checkpoints.Sync = cmp.Or(checkpoints.Sync, defaults().MetricStore.Checkpoints.Sync)
	if mode := checkpoints.Sync; mode != SyncAlways && mode != SyncOff && mode.Interval() <= 0 {
		c.fail("metric-store.checkpoints.sync", `expected "always", "off" or a duration such as "1s"; got %s`, quote(string(mode)))
	}
	cleanup := &c.config.MetricStore.Cleanup
	cleanup.Mode = cmp.Or(cleanup.Mode, CleanupDelete)
	cleanup.Encoding = cmp.Or(cleanup.Encoding, EncodingCompatible)
	if cleanup.Encoding != EncodingCompatible && cleanup.Encoding != EncodingCompact {
		c.fail("metric-store.cleanup.encoding", `expected "compatible" or "compact"; got %s`, quote(string(cleanup.Encoding)))
	}
	switch {
	case cleanup.Mode != CleanupDelete && cleanup.Mode != CleanupArchive:
		c.fail("metric-store.cleanup.mode", `expected "delete" or "archive"; got %s`, quote(string(cleanup.Mode)))
	case cleanup.Mode == CleanupArchive && cleanup.Directory == "":
		c.fail("metric-store.cleanup.directory", `missing: where mode "archive" writes`)
	}
}

// exampleValuesPerQuery is the limit in the example configuration of 0.9.0. There it was the default
// too, and aggregates counted as one series.
const exampleValuesPerQuery = 20_000_000

func (c checker) limits() {
	l := c.config.Limits
	valuesPerQuery := int64(1)
	if l.ValuesPerQuery != nil {
		valuesPerQuery = *l.ValuesPerQuery
	}
	if valuesPerQuery == exampleValuesPerQuery {
		c.warn("limits.values-per-query", "20000000, as in the example of 0.9.0, now also limits cc-backend, which then cannot archive "+
			"the footprints of large jobs: remove the key")
	}
	for _, limit := range []struct {
		key        string
		value, max int64
	}{
		{"body-bytes", l.BodyBytes, math.MaxInt64},
		{"values-per-query", valuesPerQuery, math.MaxInt64},
		{"hosts", int64(l.Hosts), math.MaxInt64},
		{"devices-per-host", int64(l.DevicesPerHost), math.MaxInt64},
		{"name-bytes", int64(l.NameBytes), 1<<16 - 1},
		{"queries-per-user", int64(l.QueriesPerUser), 1 << 20},
		{"queries-per-service", int64(l.QueriesPerService), 1 << 20},
		{"clusters-max", int64(l.ClustersMax), math.MaxInt64},
		{"connections", int64(l.Connections), math.MaxInt64},
		{"connections-per-peer", int64(l.ConnectionsPerPeer), math.MaxInt64},
	} {
		switch {
		case limit.value < 1:
			c.fail("limits."+limit.key, "expected at least 1; got %d", limit.value)
		case limit.value > limit.max:
			c.fail("limits."+limit.key, "expected at most %d; got %d", limit.max, limit.value)
		}
	}
}

// clusterLimits checks limits.clusters.
func (c checker) clusterLimits() {
	l, memoryCap := c.config.Limits, c.config.MetricStore.MemoryCap
	shares := 0
	for _, name := range slices.Sorted(maps.Keys(l.Clusters)) {
		path, own := joinKey("limits.clusters", name), l.Clusters[name]
		c.name(path, "the cluster", name)
		if name == "" {
			c.fail(path, "the name of the cluster is empty")
		}
		if own.Hosts < 0 || own.Hosts > l.Hosts {
			c.fail(path+".hosts", "expected 0 to %d, which is limits.hosts; got %d", l.Hosts, own.Hosts)
		}
		if own.Series < 0 {
			c.fail(path+".series", "expected 0 or a number of series; got %d", own.Series)
		}
		if own.Memory < 0 || own.Memory > maxMemoryCap {
			c.fail(path+".memory", "expected 0 to %d GB; got %d", maxMemoryCap, own.Memory)
			continue
		}
		shares += own.Memory
	}
	if memoryCap > 0 && shares > memoryCap {
		c.warn("limits.clusters", fmt.Sprintf("the clusters' memory adds up to %d GB, and metric-store.memory-cap is %d GB: "+
			"under pressure each gets its part in proportion", shares, memoryCap))
	}
}

// name checks a part of a series' path.
func (c checker) name(path, what, name string) {
	if limit := c.config.Limits.NameBytes; limit > 0 && len(name) > limit {
		c.fail(path, "%s: expected at most %d bytes (limits.name-bytes); got %d", what, limit, len(name))
	}
	if strings.ContainsFunc(name, unicode.IsControl) {
		c.fail(path, "%s contains a control character", what)
	}
}

// hostPort checks an address to listen on.
func (c checker) hostPort(path, address string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || !canListen(host) {
		c.fail(path, `expected host:port, such as "127.0.0.1:8080" or "[::1]:8080"; got %s`, quote(address))
		return
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		c.fail(path, "expected a port from 0 to 65535 or the name of a service; got %s", quote(port))
	}
}

// canListen reports whether host is empty, an IP address, or can be the name of a host. It asks no
// name server.
func canListen(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return true
	}
	digits := true // an IPv4 address that is none, such as 127.0.0.256
	for _, r := range host {
		digits = digits && (r == '.' || unicode.IsDigit(r))
		if r != '.' && r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return !digits && len(host) <= 253 && !strings.Contains(host, "..") && !strings.HasPrefix(host, ".") && !strings.HasPrefix(host, "-")
}

func (c checker) fail(path, format string, args ...any) {
	if c.found.skips(path) {
		return
	}
	file := c.found.fileOf(path, c.file)
	c.found.problems.add(Problem{File: file, Key: path, Message: fmt.Sprintf(format, args...)})
}

func (c checker) warn(path, message string) {
	c.found.warnings.add(Problem{File: c.found.fileOf(path, c.file), Key: path, Message: message})
}
