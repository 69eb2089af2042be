package configs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/configs"
)

const key = "X4Ll/9q96zb4edW1GpcGU4Ir0druT+/WLevbfAkSD0w="

// The smallest configuration that loads, by section.
const (
	mainSection    = `"main": {"addr": ":8082", "jwt-public-key": "` + key + `"}`
	metricsSection = `"metrics": {"cpu_load": {"frequency": 60, "aggregation": null}}`
	storeSection   = `"metric-store": {"retention-in-memory": "48h"}`
)

// minimal is the smallest configuration that loads, with these sections added or replaced.
func minimal(sections ...string) string {
	all := []string{mainSection, metricsSection, storeSection}
	for _, s := range sections {
		name, _, _ := strings.Cut(s, ":")
		all = slices.DeleteFunc(all, func(other string) bool { return strings.HasPrefix(other, name+":") })
		all = append(all, s)
	}
	return "{" + strings.Join(all, ",\n") + "}"
}

func inMain(members string) string {
	return minimal(`"main": {"addr": ":8082", "jwt-public-key": "` + key + `", ` + members + `}`)
}

func inStore(members string) string {
	return minimal(`"metric-store": {"retention-in-memory": "48h", ` + members + `}`)
}

func inMetric(members string) string { return minimal(`"metrics": {"cpu_load": {` + members + `}}`) }

// withAuthorization adds "header" to the subscriptions without authorization.
func withAuthorization(subscriptions string) string {
	return regexp.MustCompile(`\{[^{}]*\}`).ReplaceAllStringFunc(subscriptions, func(s string) string {
		if strings.Contains(s, `"authorization"`) {
			return s
		}
		return strings.Replace(strings.Replace(s, "{", `{"authorization": "header", `, 1), ", }", "}", 1)
	})
}

// subscribed has these subscriptions and an external server.
func subscribed(subscriptions string) string {
	return minimal(`"metric-store": {"retention-in-memory": "48h", "nats-subscriptions": [`+withAuthorization(subscriptions)+`]}`,
		`"nats": {"address": "nats://localhost:4222"}`)
}

// embedding has these subscriptions and an embedded server.
func embedding(subscriptions string) string {
	return minimal(`"metric-store": {"retention-in-memory": "48h", "nats-subscriptions": [`+subscriptions+`]}`,
		`"nats": {"embedded": {"listen": "127.0.0.1:0"}}`)
}

func linesOf(problems []configs.Problem) []string {
	var lines []string
	for _, p := range problems {
		lines = append(lines, p.String())
	}
	return lines
}

func compareLines(t *testing.T, text string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%.300s\n got:\n  %s\nwant:\n  %s", text, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// refused checks that a configuration is refused with exactly these lines.
func refused(t *testing.T, text string, want ...string) {
	t.Helper()
	config, err := configs.Parse("config.json", []byte(text))
	problems, _ := errors.AsType[configs.Errors](err)
	if config != nil || problems == nil {
		t.Errorf("%.300s\nloaded; want %q", text, want)
		return
	}
	compareLines(t, text, linesOf(problems), want)
	if got := err.Error(); got != strings.Join(want, "\n") {
		t.Errorf("Error() is not one line per problem: %q", got)
	}
}

// loaded checks that a configuration loads with exactly these warnings.
func loaded(t *testing.T, text string, warnings ...string) *configs.Config {
	t.Helper()
	config, err := configs.Parse("config.json", []byte(text))
	if err != nil {
		t.Errorf("%.300s\nrefused: %v", text, err)
		return &configs.Config{}
	}
	compareLines(t, text, linesOf(config.Warnings), warnings)
	return config
}

// Errors, warnings and a printed configuration contain no string that could be a secret.
func TestSecretsAreHidden(t *testing.T) {
	const secret = "hunter2"
	for _, text := range []string{
		minimal(`"nats": {"address": "nats://u:` + secret + `@", "password": "` + secret + `"}`),
		minimal(`"nats": {"address": "ftp://u:` + secret + `@h", "password": {"` + `x": "` + secret + `"}}`),
		minimal(`"main": {"addr": ":1", "jwt-public-key": "` + secret + `"}`),
		inMain(`"backend-url": "://u:` + secret + `@h", "user": 5`),
		subscribed(`{"subscribe-to": "a", "authorization": "` + secret + `"}`),
		minimal(`"auth": {"users-read": "` + secret + `"}`),
		minimal(`"nats": {"address": "nats://h", "password": "` + secret + `", "pasword": "` + secret + `"}`),
		accepting(`{"name": "a", "issuer": "x", "algorithms": ["HS256"], "shared-secret": "` + secret + `"}`),
		accepting(`{"name": "a", "issuer": "x", "public-key": "env:", "shared-secret": "base64:` + secret + `"}`),
		minimal(`"auth": {"azure-kv": {"client-secret": "` + secret + `"}}`),
		minimal(`"main": {"addr": "${HUNTER}", "jwt-public-key": "${` + secret + `!}"}`),
	} {
		_, err := configs.Parse("config.json", []byte(text))
		if err == nil {
			t.Errorf("loaded: %s", text)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s\nshows the secret: %v", text, err)
		}
	}

	config := loaded(t, minimal(`"nats": {"address": "nats://h", "password": "`+secret+`"}`),
		"config.json: nats: username and password are used only if both are given")
	if string(config.NATS.Password) != secret {
		t.Errorf("the password is %q", string(config.NATS.Password))
	}
	var printed strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&printed, verb, config.NATS)
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	printed.Write(text)
	slog.New(slog.NewTextHandler(&printed, nil)).Info("config", "nats", config.NATS, "password", config.NATS.Password)
	if strings.Contains(printed.String(), secret) || strings.Contains(printed.String(), fmt.Sprintf("%x", secret)) {
		t.Errorf("printed: %s", &printed)
	}
}

func TestWarnings(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); loaded(t, text, want...) }
	const noToken = "config.json: auth.disabled: no token is required: everyone who can reach this server is an administrator"

	f(minimal())
	f(minimal(`"metrcs": {"a": 1}`), `config.json: metrcs: unknown section, ignored; did you mean "metrics"?`)
	f(minimal(`"cron": {}, "ui-file": "no such file"`), "config.json: cron: unknown section, ignored", "config.json: ui-file: unknown section, ignored")
	f(minimal(`"auth": {"disabled": true}`), noToken)
	f(minimal(`"limits": {"values-per-query": 20000000}`), "config.json: limits.values-per-query: 20000000, as in the example of 0.9.0, now also limits "+
		"cc-backend, which then cannot archive the footprints of large jobs: remove the key")
	f(minimal(`"limits": {"values-per-query": 20000001}`))
	shares := func(memoryCap string) string {
		return minimal(`"metric-store": {"retention-in-memory": "1h", "memory-cap": `+memoryCap+`}`, `"limits": {"clusters": {"a": {"memory": 6}, "b": {"memory": 5}}}`)
	}
	f(shares("11"))
	f(shares("0"))
	f(shares("10"), "config.json: limits.clusters: the clusters' memory adds up to 11 GB, and metric-store.memory-cap is 10 GB: under pressure each gets its part in proportion")
	f(minimal(`"main": {"addr": ":1"}`, `"auth": {"disabled": true}`), noToken)
	f(minimal(`"auth": {"users-read": "all"}`), "config.json: auth.users-read: the roles user and manager may query every job's data")
	f(minimal(`"main": {"addr": ":1", "jwt-public-key": "kzfYrYy+TzpanWZHJ5qSdMj5uKUWgq74BWhQG6copP0="}`),
		"config.json: main.jwt-public-key: is the demonstration key of ClusterCockpit: its private key is public, so anyone can create valid tokens")
	f(subscribed(`{"subscribe-to": "hpc", "authorization": "trusted"}`), "config.json: metric-store.nats-subscriptions[0].authorization: "+
		`messages need no token: everyone who may publish to "hpc" may write`)
	f(inStore(`"nats-subscriptions": [{"subscribe-to": "hpc"}]`),
		"config.json: metric-store.nats-subscriptions: have no effect without nats.address or nats.embedded")
	f(minimal(`"nats": {"embedded": {"listen": "127.0.0.1:0"}}`), "config.json: nats.embedded: has no use without metric-store.nats-subscriptions")
	f(subscribed(`{"subscribe-to": "hpc.>"}, {"subscribe-to": "hpc.fritz"}`), "config.json: metric-store.nats-subscriptions[1].subscribe-to: "+
		"overlaps with metric-store.nats-subscriptions[0]: messages that match both are received twice")
	f(subscribed(`{"subscribe-to": "a.*.c"}, {"subscribe-to": "a.b"}, {"subscribe-to": "a.b.d"}, {"subscribe-to": "a"}`))
	f(inMain(`"backend-url": "monitoring:8080"`), "config.json: main.backend-url: not used: expected an absolute URL such as https://monitoring.example.org")
	for _, addr := range []string{"127.0.0.1:9100", "localhost:9100", "[::1]:9100"} {
		f(inMain(`"metrics-addr": "` + addr + `"`))
	}
	for _, addr := range []string{":9100", "0.0.0.0:9100", "[::]:9100", "192.0.2.1:9100", "example.org:9100"} {
		f(inMain(`"metrics-addr": "`+addr+`"`), "config.json: main.metrics-addr: other machines can reach this address and read the metrics without a token, "+
			"including the names of token issuers and subjects")
	}
	for _, addr := range []string{"127.0.0.1:9200", "localhost:9200", "[::1]:9200"} {
		f(inMain(`"admin-addr": "` + addr + `"`))
	}
	for _, addr := range []string{":9200", "0.0.0.0:9200", "192.0.2.1:9200", "example.org:9200"} {
		f(inMain(`"admin-addr": "`+addr+`"`), "config.json: main.admin-addr: other machines can reach this address, and administrators' tokens are sent there "+
			"without encryption; set main.https-cert-file and main.https-key-file, or use a loopback address")
		f(inMain(`"admin-addr": "` + addr + `", "https-cert-file": "cert.pem", "https-key-file": "key.pem"`))
	}
	f(inMain(`"debug": {"dump-to-file": "x", "gops": true, "pprof": true}`),
		"config.json: main.debug.dump-to-file: has no effect; /api/debug shows the same", "config.json: main.debug.pprof: unknown key, ignored")
	f(inStore(`"checkpoints": {"file-format": "json", "interval": "12h"}, "cleanup": {"interval": "48h"}`),
		`config.json: metric-store.checkpoints.interval: has no effect; write "checkpoint-interval" in "metric-store"`,
		`config.json: metric-store.cleanup.interval: has no effect; "retention-in-memory" controls the cleanup`)
	f(minimal(`"main": {"Addr": ":1", "jwt-public-key": "`+key+`"}`), `config.json: main.Addr: read as "addr"`)
}

// A configuration with every key of cc-metric-store 1.5 loads without a warning. Only the
// subscriptions need one more, as the server is an external one.
func TestPeerConfigLoads(t *testing.T) {
	config := loaded(t, `{
		"main": {
			"addr": "0.0.0.0:8082", "https-cert-file": "", "https-key-file": "", "jwt-public-key": "`+key+`",
			"user": "", "group": "", "backend-url": "", "debug": {"dump-to-file": "", "gops": false}
		},
		"metrics": {
			"cpu_load": {"frequency": 60, "aggregation": null},
			"clock": {"frequency": 10, "aggregation": "avg"},
			"flops_any": {"frequency": 60, "aggregation": "sum"},
			"mem_used": {"frequency": 60, "aggregation": ""},
			"no_aggregation": {"frequency": 60}
		},
		"nats": {"address": "nats://0.0.0.0:4222", "username": "root", "password": "root", "creds-file-path": "", "nkey-seed-file": ""},
		"metric-store": {
			"num-workers": -1, "checkpoint-interval": "12h", "memory-cap": 100, "retention-in-memory": "48h",
			"checkpoints": {"file-format": "wal", "directory": "./var/cp", "max-wal-size": 0, "sync": "always"},
			"debug": {"dump-to-file": "", "gops": false},
			"cleanup": {"mode": "archive", "directory": "./var/archive"},
			"nats-subscriptions": [
				{"subscribe-to": "hpc-nats", "cluster-tag": "fritz", "authorization": "header"},
				{"subscribe-to": "hpc-nats", "cluster-tag": "alex", "authorization": "header"}
			]
		}
	}`)
	want := &configs.Config{
		Main: configs.Main{Addr: "0.0.0.0:8082", JWTPublicKey: key},
		Metrics: map[string]configs.Metric{
			"cpu_load":       {Frequency: 60},
			"clock":          {Frequency: 10, Aggregation: configs.AvgAggregation},
			"flops_any":      {Frequency: 60, Aggregation: configs.SumAggregation},
			"mem_used":       {Frequency: 60},
			"no_aggregation": {Frequency: 60},
		},
		MetricStore: configs.MetricStore{
			RetentionInMemory: 48 * time.Hour, CheckpointInterval: 12 * time.Hour, MemoryCap: 100, NumWorkers: -1,
			Checkpoints: configs.Checkpoints{Directory: "./var/cp", Sync: configs.SyncAlways},
			Cleanup:     configs.Cleanup{Mode: configs.CleanupArchive, Directory: "./var/archive", Encoding: configs.EncodingCompatible},
			Subscriptions: []configs.Subscription{
				{SubscribeTo: "hpc-nats", ClusterTag: "fritz", Authorization: configs.AuthorizationHeader},
				{SubscribeTo: "hpc-nats", ClusterTag: "alex", Authorization: configs.AuthorizationHeader},
			},
		},
		Auth:   configs.Auth{PollInterval: 5 * time.Minute, Jobs: configs.Jobs{Backend: configs.BackendJobs{PollInterval: 30 * time.Second}, MaxStaleness: 10 * time.Minute}},
		NATS:   configs.NATS{Address: "nats://0.0.0.0:4222", Username: "root", Password: "root"},
		Limits: configs.Limits{BodyBytes: 64 << 20, Hosts: 20_000, DevicesPerHost: 16_384, NameBytes: 256, ClustersMax: 64, Connections: 16_384, ConnectionsPerPeer: 1024, QueriesPerUser: 4, QueriesPerService: 32},
	}
	if !reflect.DeepEqual(config, want) {
		t.Errorf("\n got %+v\nwant %+v", config, want)
	}
}

func TestDefaults(t *testing.T) {
	config := loaded(t, inStore(`"checkpoint-interval": "", "checkpoints": {"directory": ""}, "cleanup": {"mode": "", "directory": null}, "debug": null`))
	want := configs.MetricStore{
		RetentionInMemory: 48 * time.Hour, CheckpointInterval: 10 * time.Minute,
		Checkpoints: configs.Checkpoints{Directory: "./var/checkpoints", Sync: "1s"},
		Cleanup:     configs.Cleanup{Mode: configs.CleanupDelete, Encoding: configs.EncodingCompatible},
	}
	if !reflect.DeepEqual(config.MetricStore, want) {
		t.Errorf("\n got %+v\nwant %+v", config.MetricStore, want)
	}
}

func TestAdditions(t *testing.T) {
	config := loaded(t, minimal(
		`"main": {"addr": "[::1]:http", "jwt-public-key": "`+key+`", "gzip": true, "slow-query": "2s", "debug": {"gops": true}, "backend-url": "https://h"}`,
		`"metrics": {"net": {"frequency": 1, "extra-tags": ["device", "unit"], "aliases": ["in", "rx"]}}`,
		`"nats": {"embedded": {"listen": "127.0.0.1:4222"}}`,
		`"metric-store": {"retention-in-memory": "1h30m", "nats-subscriptions": [{"subscribe-to": "a"}]}`,
		`"auth": {"require-expiry": true, "audit-log": "audit", "jobs": {"backend": {"token": "env:CCB_TOKEN", "poll-interval": "1m"}}}`,
		`"limits": {"body-bytes": 9007199254740993, "values-per-query": 2, "hosts": 3, "devices-per-host": 4, "name-bytes": 6, "connections": 7, "connections-per-peer": 8, "queries-per-user": 9, "queries-per-service": 10,
			"clusters-max": 11, "clusters": {"a": {"hosts": 1, "series": 2, "memory": 3}, "*": {"hosts": 2}}}`,
		`"explorer": {"disabled": true}`,
	))
	want := &configs.Config{
		Main:    configs.Main{Addr: "[::1]:http", JWTPublicKey: key, Gzip: true, SlowQuery: 2 * time.Second, Debug: configs.Debug{Gops: true}, BackendURL: "https://h"},
		Metrics: map[string]configs.Metric{"net": {Frequency: 1, ExtraTags: []string{"device", "unit"}, Aliases: []string{"in", "rx"}}},
		MetricStore: configs.MetricStore{
			RetentionInMemory: 90 * time.Minute, CheckpointInterval: 10 * time.Minute,
			Checkpoints:   configs.Checkpoints{Directory: "./var/checkpoints", Sync: "1s"},
			Cleanup:       configs.Cleanup{Mode: configs.CleanupDelete, Encoding: configs.EncodingCompatible},
			Subscriptions: []configs.Subscription{{SubscribeTo: "a", Authorization: configs.AuthorizationConnection}},
		},
		NATS: configs.NATS{Embedded: &configs.EmbeddedNATS{Listen: "127.0.0.1:4222"}},
		Auth: configs.Auth{
			Times: configs.Times{RequireExpiry: new(true)}, PollInterval: 5 * time.Minute, AuditLog: "audit",
			Jobs: configs.Jobs{Backend: configs.BackendJobs{Token: "env:CCB_TOKEN", PollInterval: time.Minute}, MaxStaleness: 10 * time.Minute},
		},
		Limits: configs.Limits{
			BodyBytes: 1<<53 + 1, ValuesPerQuery: new(int64(2)), Hosts: 3, DevicesPerHost: 4, NameBytes: 6, Connections: 7, ConnectionsPerPeer: 8, QueriesPerUser: 9, QueriesPerService: 10,
			ClustersMax: 11, Clusters: map[string]configs.ClusterLimits{"a": {Hosts: 1, Series: 2, Memory: 3}, "*": {Hosts: 2}},
		},
		Explorer: configs.Explorer{Disabled: true},
	}
	if !reflect.DeepEqual(config, want) {
		t.Errorf("\n got %+v\nwant %+v", config, want)
	}
}

// A metric's own precision, also 0, overrides that of the store.
func TestPrecision(t *testing.T) {
	f := func(store, metric string, want int) {
		t.Helper()
		config := loaded(t, minimal(`"metric-store": {"retention-in-memory": "48h"`+store+`}`,
			`"metrics": {"cpu_load": {"frequency": 60`+metric+`}}`))
		if got := config.Precision("cpu_load"); got != want {
			t.Errorf("store %q, metric %q: %d bits, want %d", store, metric, got, want)
		}
	}
	f(``, ``, 0)
	f(`, "precision": 0`, ``, 0)
	f(`, "precision": 8`, ``, 8)
	f(``, `, "precision": 52`, 52)
	f(`, "precision": 24`, `, "precision": 16`, 16)
	f(`, "precision": 24`, `, "precision": 0`, 0)
	f(`, "precision": 24`, `, "precision": null`, 24)
}

func TestAddresses(t *testing.T) {
	for _, address := range []string{"nats://h:4222", "h:4222", "h", "tls://a:1, nats://b:2", "nats://u:p@h", "wss://h/path", "nats://[::1]:4222"} {
		loaded(t, minimal(`"nats": {"address": "`+address+`"}`))
	}
}

func TestSubjects(t *testing.T) {
	f := func(subscriptions string, want ...configs.Subject) {
		t.Helper()
		config, err := configs.Parse("config.json", []byte(subscribed(subscriptions)))
		if err != nil {
			t.Fatal(err)
		}
		if got := config.Subjects(); !slices.Equal(got, want) {
			t.Errorf("%s\n got %+v\nwant %+v", subscriptions, got, want)
		}
	}
	const header, trusted = configs.AuthorizationHeader, configs.AuthorizationTrusted

	f(``)
	f(`{"subscribe-to": "b", "cluster-tag": "x"}, {"subscribe-to": "a", "authorization": "trusted"}`,
		configs.Subject{Subject: "b", ClusterTag: "x", Authorization: header}, configs.Subject{Subject: "a", ClusterTag: "", Authorization: trusted})
	f(`{"subscribe-to": "a", "cluster-tag": "x"}, {"subscribe-to": "a", "cluster-tag": "y"}, {"subscribe-to": "a", "cluster-tag": "z"}`,
		configs.Subject{Subject: "a", ClusterTag: "", Authorization: header})
	f(`{"subscribe-to": "a", "cluster-tag": "x", "authorization": "trusted"}, {"subscribe-to": "a", "authorization": "trusted"}`,
		configs.Subject{Subject: "a", ClusterTag: "", Authorization: trusted})
	f(`{"subscribe-to": "a", "stream": "S", "durable": "d"}`,
		configs.Subject{Subject: "a", Authorization: header, Stream: "S", Durable: "d"})
	f(`{"subscribe-to": "telegraf", "dialect": "influx"}`,
		configs.Subject{Subject: "telegraf", Authorization: header, Dialect: configs.DialectInflux})
}

func TestUsualAuthorization(t *testing.T) {
	f := func(want configs.Authorization, nats string) {
		t.Helper()
		config, err := configs.Parse("config.json", []byte(minimal(
			`"metric-store": {"retention-in-memory": "48h", "nats-subscriptions": [{"subscribe-to": "a"}]}`, `"nats": `+nats)))
		if err != nil {
			t.Fatal(err)
		}
		if got := config.Subjects()[0].Authorization; got != want {
			t.Errorf("%s: %q, want %q", nats, got, want)
		}
	}
	f(configs.AuthorizationConnection, `{"embedded": {"listen": ":0"}}`)
	f(configs.AuthorizationHeader, `{}`)
	f(configs.AuthorizationHeader, `{"address": "nats://h"}, "auth": {"disabled": true}`)
}

// A subscription of cc-metric-store at an external server chooses nothing: every choice is named,
// with the line to add and what it needs of the collectors.
func TestAuthorizationMustBeChosen(t *testing.T) {
	const at = `config.json: metric-store.nats-subscriptions[%d].authorization: missing: with nats.address, choose what checks that a sender may write, and add to the subscription ` +
		`"authorization": "trusted" (the NATS server's own permissions: collectors stay as they are), ` +
		`"authorization": "connection" (a token as the NATS password of each collector: needs nats.auth-callout here and auth_callout in the NATS server), or ` +
		`"authorization": "header" (a token in the headers of each message: cc-metric-collector sends none)`
	for _, nats := range []string{
		`{"address": "nats://h"}`, `{"address": "nats://h", "username": "root", "password": "root"}`,
		`{"address": "nats://h", "auth-callout": {"account-seed": "file:x"}}`,
	} {
		_, err := configs.Parse("config.json", []byte(minimal(
			`"metric-store": {"retention-in-memory": "48h", "nats-subscriptions": [{"subscribe-to": "hpc-nats", "cluster-tag": "fritz"},
				{"subscribe-to": "a", "authorization": "header"}, {"subscribe-to": "b", "authorization": ""}]}`, `"nats": `+nats)))
		if err == nil || err.Error() != fmt.Sprintf(at+"\n"+at, 0, 2) {
			t.Errorf("%s: %v", nats, err)
		}
	}
}

func TestNATS(t *testing.T) {
	config := loaded(t, minimal(`"nats": {"embedded": {"listen": ":0", "tls-cert-file": "c", "tls-key-file": "k", "expiry-grace": "0s",
		"max-connections": 5, "max-payload": 1048576, "messages-per-second": 7, "bytes-per-second": 8}}`),
		"config.json: nats.embedded: has no use without metric-store.nats-subscriptions")
	e := config.NATS.Embedded
	if e.ExpiryGrace == nil || *e.ExpiryGrace != 0 || e.TLSCertFile != "c" || e.TLSKeyFile != "k" || e.MaxConnections != 5 ||
		e.MaxPayload != 1<<20 || *e.MessagesPerSecond != 7 || *e.BytesPerSecond != 8 {
		t.Errorf("%+v", e)
	}
	config = loaded(t, minimal(`"nats": {"address": "h", "auth-callout": {"account-seed": "env:A", "xkey-seed": "file:x", "account": "APP"}}`),
		`config.json: nats.auth-callout: accepts no connection: no subscription has "authorization": "connection"`)
	if a := config.NATS.AuthCallout; string(a.AccountSeed) != "env:A" || string(a.XKeySeed) != "file:x" || a.Account != "APP" {
		t.Errorf("%+v", a)
	}
}

func TestExamples(t *testing.T) {
	trusted := `config-nats.json: metric-store.nats-subscriptions[0].authorization: messages need no token: ` +
		`everyone who may publish to "hpc-collectors" may write`
	for name, warnings := range map[string][]string{
		"config.json": nil, "config-nats.json": {trusted}, "config-issuers.json": nil,
	} {
		config, err := configs.Load(name)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		compareLines(t, name, linesOf(config.Warnings), warnings)
	}
	examples, err := filepath.Glob("*.json")
	if err != nil || len(examples) < 5 {
		t.Fatalf("examples: %q, %v", examples, err)
	}
	for _, name := range examples {
		if data, err := os.ReadFile(name); err != nil || !json.Valid(data) {
			t.Errorf("%s: expected JSON, %v", name, err)
		}
	}
}

// Rates are limited unless 0 is configured.
func TestRates(t *testing.T) {
	f := func(keys string, wantMessages, wantBytes int64) {
		t.Helper()
		config, err := configs.Parse("c", []byte(minimal(`"nats": {"embedded": {`+keys+`"listen": ":0"}}`)))
		if err != nil {
			t.Fatal(err)
		}
		if messages, bytes := config.NATS.Embedded.Rates(); messages != wantMessages || bytes != wantBytes {
			t.Errorf("%s: %d messages, %d bytes", keys, messages, bytes)
		}
	}
	f("", configs.DefaultMessagesPerSecond, configs.DefaultBytesPerSecond)
	f(`"messages-per-second": 0, "bytes-per-second": 0, `, 0, 0)
	f(`"messages-per-second": 7, "bytes-per-second": 8, `, 7, 8)
}
