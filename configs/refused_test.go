package configs_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/configs"
)

func TestRefusedText(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); refused(t, text, want...) }

	f("", "config.json:1:1: unexpected end of JSON input")
	f("  \n  ", "config.json:2:2: unexpected end of JSON input")
	f("null", "config.json: expected an object; got null")
	f("[]", "config.json: expected an object; got an array")
	f("{\n  \"main\": {\n    \"addr\" \"x\"\n  }\n}", `config.json:3:12: invalid character '"' after object key`)
	f("{\n  \"main\": {},\n}", `config.json:3:1: trailing comma: remove the comma before "}"`)
	f(`{"metrics": [1, 2 , ]}`, `config.json:1:21: trailing comma: remove the comma before "]"`)
	f("{\n  // the port\n}", "config.json:2:3: comment: JSON has no comments, remove it")
	f(`{"main": {}, /* none */ "nats": {}}`, "config.json:1:14: comment: JSON has no comments, remove it")
	f("# RingStore\n{}", "config.json:1:1: comment: JSON has no comments, remove it")
	f(`{"main": {}} // end`, "config.json:1:14: comment: JSON has no comments, remove it")
	f(`{'main': {}}`, "config.json:1:2: single quotes: JSON needs double quotes")
	f(`{"main": {"addr": ':8080'}}`, "config.json:1:19: single quotes: JSON needs double quotes")
	f(`{"main": /}`, "config.json:1:10: invalid character '/' looking for beginning of value")
	f("\xff\xfe{\x00}\x00", "config.json:1:1: the file is UTF-16: save it as UTF-8")
	f("{}\n{}", "config.json:2:1: invalid character '{' after top-level value")
	f(`{"main": {"addr": "`, "config.json:1:19: unexpected end of JSON input")
	f("\ufeff{}", "config.json:1:1: byte order mark: save the file as UTF-8 without one")
	f(strings.Repeat("[", 33)+strings.Repeat("]", 33), "config.json:1:33: nested deeper than 32 levels")
	f(strings.Repeat("[", 20_000), "config.json:1:10001: invalid character '[' exceeded max depth")
	f(strings.Repeat(" ", 1<<20+1), "config.json: larger than 1048576 bytes")
	f(minimal(`"main": {"addr": ":1",`+"\n"+`"addr": ":2", "jwt-public-key": "`+key+`"}`),
		"config.json: main.addr: duplicate key, in lines 3 and 4")
	f(minimal(`"other": [1, {"a": 1, "a": 2}]`), "config.json: other[1].a: duplicate key, in lines 4 and 4", "config.json: other: warning: unknown section, ignored")
	f("{"+mainSection+", "+metricsSection+","+storeSection+",\n"+mainSection+"}",
		"config.json: main: duplicate key, in lines 1 and 2")
}

// A misspelled section is told beside the errors that it causes.
func TestUnknownSectionsBesideErrors(t *testing.T) {
	refused(t, `{"mian": {"addr": ":1"}, "x": 1, `+metricsSection+`,`+storeSection+`}`,
		`config.json: main.addr: missing: the address to listen on, such as "0.0.0.0:8082"`,
		`config.json: main.jwt-public-key: missing: give the issuer's Ed25519 public key ("ringstore key FILE" prints it), `+
			`or switch authentication off with "auth": {"disabled": true}`,
		`config.json: mian: warning: unknown section, ignored; did you mean "main"?`,
		`config.json: x: warning: unknown section, ignored`)
}

// An address that no machine can listen on is found without asking a name server.
func TestRefusedAddresses(t *testing.T) {
	for _, addr := range []string{"127.0.0.256:80", "1.2.3:80", "a b:80", "http://h:80", "[::g]:80", "[::1:80", "::1:80", "h/x:80", "-h:80", ".h:80", "a..b:80", "h"} {
		refused(t, minimal(`"main": {"addr": "`+addr+`", "jwt-public-key": "`+key+`"}`),
			`config.json: main.addr: expected host:port, such as "127.0.0.1:8080" or "[::1]:8080"; got "`+addr+`"`)
	}
	for _, addr := range []string{":80", "localhost:http", "127.0.0.1:0", "[::1]:80", "[fe80::1%eth0]:80", "[::]:80", "node-1.example.org:80", "n_1:80", "2node:80"} {
		loaded(t, minimal(`"main": {"addr": "`+addr+`", "jwt-public-key": "`+key+`"}`))
	}
}

func TestRefusedTypes(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); refused(t, text, want...) }

	f(minimal(`"main": 1`), "config.json: main: expected an object; got a number")
	f(minimal(`"metrics": []`), "config.json: metrics: expected an object; got an array")
	f(minimal(`"metrics": {"a": 1}`), "config.json: metrics.a: expected an object; got a number")
	f(minimal(`"metric-store": "48h"`), "config.json: metric-store: expected an object; got a string")
	f(inMain(`"user": 0`), "config.json: main.user: expected a string; got a number")
	f(inMain(`"gzip": "true"`), "config.json: main.gzip: expected true or false; got a string")
	f(inMain(`"debug": true`), "config.json: main.debug: expected an object; got a boolean")
	f(inStore(`"memory-cap": "100"`), "config.json: metric-store.memory-cap: expected a whole number; got a string")
	f(inStore(`"memory-cap": 1.5`), `config.json: metric-store.memory-cap: expected a whole number of at most 19 digits; got "1.5"`)
	f(inStore(`"memory-cap": 99999999999999999999`),
		`config.json: metric-store.memory-cap: expected a whole number of at most 19 digits; got "99999999999999999999"`)
	f(inStore(`"nats-subscriptions": {}`), "config.json: metric-store.nats-subscriptions: expected an array; got an object")
	f(inStore(`"nats-subscriptions": ["hpc"]`), "config.json: metric-store.nats-subscriptions[0]: expected an object; got a string")
	f(inMetric(`"frequency": "60"`), "config.json: metrics.cpu_load.frequency: expected a whole number; got a string")
	f(inMetric(`"frequency": 60, "aggregation": false`), "config.json: metrics.cpu_load.aggregation: expected a string; got a boolean")
	f(inMetric(`"frequency": 60, "extra-tags": "device"`), "config.json: metrics.cpu_load.extra-tags: expected an array; got a string")
	f(inMetric(`"frequency": 60, "extra-tags": [1]`), "config.json: metrics.cpu_load.extra-tags[0]: expected a string; got a number")
	f(minimal(`"nats": {"embedded": "127.0.0.1:4222"}`), "config.json: nats.embedded: expected an object; got a string")
}

func TestRefusedKeys(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); refused(t, text, want...) }

	f(inMain(`"adr": ":1"`), `config.json: main.adr: unknown key; did you mean "addr"?`)
	f(inMain(`"https_cert_file": ""`), `config.json: main.https_cert_file: unknown key; did you mean "https-cert-file"?`)
	f(inMain(`"db": "./var/job.db"`), "config.json: main.db: unknown key; known here: "+
		"addr, admin-addr, backend-url, debug, group, gzip, https-cert-file, https-client-ca-file, https-client-crl-file, https-key-file, jwt-public-key, metrics-addr, slow-query, user")
	f(inMain(`"disable-authentication": true`), `config.json: main.disable-authentication: unknown key; `+
		`to switch authentication off, set "auth": {"disabled": true}`)
	f(inMain(`"a.b\n": 1, "": 1`), `config.json: main["a.b\n"]: unknown key; known here: `+
		"addr, admin-addr, backend-url, debug, group, gzip, https-cert-file, https-client-ca-file, https-client-crl-file, https-key-file, jwt-public-key, metrics-addr, slow-query, user",
		`config.json: main[""]: unknown key; known here: addr, admin-addr, backend-url, debug, group, gzip, https-cert-file, https-client-ca-file, https-client-crl-file, https-key-file, jwt-public-key, metrics-addr, slow-query, user`)
	f(inMetric(`"frequencey": 60`), `config.json: metrics.cpu_load.frequencey: unknown key; did you mean "frequency"?`,
		"config.json: metrics.cpu_load.frequency: expected 1 to 31536000 seconds; got 0")
	f(inStore(`"retention": "48h"`), `config.json: metric-store.retention: unknown key; known here: checkpoint-interval, `+
		"checkpoints, cleanup, debug, memory-cap, nats-subscriptions, num-workers, precision, retention-in-memory")
	f(inStore(`"checkpoints": {"dir": "x"}`), `config.json: metric-store.checkpoints.dir: unknown key; known here: directory, max-wal-size, sync`)
	f(inStore(`"cleanup": {"modus": "delete"}`), `config.json: metric-store.cleanup.modus: unknown key; did you mean "mode"?`)
	f(subscribed(`{"subscribe-to": "hpc", "cluster": "fritz"}`),
		"config.json: metric-store.nats-subscriptions[0].cluster: unknown key; known here: authorization, cluster-tag, dialect, durable, guests, stream, subscribe-to")
	f(minimal(`"nats": {"subscriptions": []}`), "config.json: nats.subscriptions: unknown key; "+
		`subscriptions are in "metric-store", as "nats-subscriptions"`)
	f(minimal(`"auth": {"disable": true}`), `config.json: auth.disable: unknown key; did you mean "disabled"?`)
	f(minimal(`"limits": {"host": 1}`), `config.json: limits.host: unknown key; did you mean "hosts"?`)
	f(minimal(`"main": {"addr": ":1", "Addr": ":2", "jwt-public-key": "`+key+`"}`),
		`config.json: main.Addr: duplicate key, also written as "addr"`)
}

func TestRefusedMain(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); refused(t, text, want...) }
	const neitherKey = `config.json: main.jwt-public-key: missing: give the issuer's Ed25519 public key ("ringstore key FILE" ` +
		`prints it), or switch authentication off with "auth": {"disabled": true}`
	const notBase64 = "config.json: main.jwt-public-key: expected the 32 bytes of an Ed25519 public key in standard base64; got other text; " +
		`"ringstore key FILE" prints the key in this form`

	f(minimal(`"main": {}`), `config.json: main.addr: missing: the address to listen on, such as "0.0.0.0:8082"`, neitherKey)
	f(minimal(`"main": {"addr": ":1", "jwt-public-key": null}`), neitherKey)
	f(minimal(`"main": {"addr": ":1"}`, `"auth": {"disabled": false}`), neitherKey)
	f(minimal(`"main": {"addr": ":1", "jwt-public-key": "X4Ll_9q96zb4edW1GpcGU4Ir0druT-_WLevbfAkSD0w="}`), notBase64)
	f(minimal(`"main": {"addr": ":1", "jwt-public-key": "`+strings.TrimSuffix(key, "=")+`"}`), notBase64)
	f(minimal(`"main": {"addr": ":1", "jwt-public-key": "-----BEGIN PUBLIC KEY-----"}`), notBase64)
	f(minimal(`"main": {"addr": ":1", "jwt-public-key": "AAAA"}`, `"auth": {"disabled": true}`),
		"config.json: main.jwt-public-key: expected the 32 bytes of an Ed25519 public key in standard base64; got 3 bytes; "+
			`"ringstore key FILE" prints the key in this form`)
	f(minimal(`"main": {"addr": "localhost", "jwt-public-key": "`+key+`"}`),
		`config.json: main.addr: expected host:port, such as "127.0.0.1:8080" or "[::1]:8080"; got "localhost"`)
	f(minimal(`"main": {"addr": "localhost:70000", "jwt-public-key": "`+key+`"}`),
		`config.json: main.addr: expected a port from 0 to 65535 or the name of a service; got "70000"`)
	f(inMain(`"admin-addr": "9200"`), `config.json: main.admin-addr: expected host:port, such as "127.0.0.1:8080" or "[::1]:8080"; got "9200"`)
	f(inMain(`"admin-addr": "127.0.0.1:70000"`),
		`config.json: main.admin-addr: expected a port from 0 to 65535 or the name of a service; got "70000"`)
	f(inMain(`"metrics-addr": "9100"`), `config.json: main.metrics-addr: expected host:port, such as "127.0.0.1:8080" or "[::1]:8080"; got "9100"`)
	f(inMain(`"metrics-addr": "localhost:metrics!"`),
		`config.json: main.metrics-addr: expected a port from 0 to 65535 or the name of a service; got "metrics!"`)
	f(inMain(`"https-cert-file": "c.pem"`), "config.json: main.https-key-file: missing: main.https-cert-file is set, and HTTPS needs both")
	f(inMain(`"https-key-file": "k.pem"`), "config.json: main.https-cert-file: missing: main.https-key-file is set, and HTTPS needs both")
	f(inMain(`"https-client-crl-file": "crl.pem"`), "config.json: main.https-client-crl-file: needs main.https-client-ca-file: it lists certificates of these authorities")
	f(inMain(`"https-client-ca-file": "ca.pem"`), "config.json: main.https-client-ca-file: needs main.https-cert-file: clients send certificates over HTTPS only")
	f(inMain(`"slow-query": "0s"`), `config.json: main.slow-query: expected a duration longer than 0; got "0s"`)
	f(inMain(`"slow-query": 2`), `config.json: main.slow-query: expected a duration in quotes, such as "48h" or "10m"; got a number`)
	f(minimal(`"auth": {"users-read": "none"}`), `config.json: auth.users-read: expected "all"; otherwise leave the key out`)
}

func TestRefusedMetrics(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); refused(t, text, want...) }
	const missing = `config.json: metrics: missing: the metrics to keep, such as {"cpu_load": {"frequency": 60, "aggregation": null}}`
	long := strings.Repeat("m", 257)

	f("{"+mainSection+","+storeSection+"}", missing)
	f(minimal(`"metrics": {}`), missing)
	f(minimal(`"metrics": null`), missing)
	for _, frequency := range []string{"0", "-1", "31536001", "9223372036854775807"} {
		f(inMetric(`"frequency": `+frequency), "config.json: metrics.cpu_load.frequency: expected 1 to 31536000 seconds; got "+frequency)
	}
	f(inMetric(`"frequency": null`), "config.json: metrics.cpu_load.frequency: expected 1 to 31536000 seconds; got 0")
	f(inMetric(`"frequency": 1, "aggregation": "max"`), `config.json: metrics.cpu_load.aggregation: expected "sum", "avg" or null; got "max"`)
	f(inMetric(`"frequency": 1, "aggregation": "SUM"`), `config.json: metrics.cpu_load.aggregation: expected "sum", "avg" or null; got "SUM"`)
	f(minimal(`"metrics": {"": {"frequency": 1}}`), `config.json: metrics[""]: the name is empty`)
	f(minimal(`"metrics": {"a\u0000b": {"frequency": 1}}`), `config.json: metrics["a\x00b"]: the name contains a control character`)
	f(minimal(`"metrics": {"`+long+`": {"frequency": 1}}`), `config.json: metrics["`+long[:64]+
		`"...]: the name: expected at most 256 bytes (limits.name-bytes); got 257`)
	for _, bits := range []string{"-1", "1", "7", "53", "64"} {
		want := "expected 8 to 52 significant bits, or 0 to keep all; got " + bits
		f(inMetric(`"frequency": 1, "precision": `+bits), "config.json: metrics.cpu_load.precision: "+want)
		f(inStore(`"precision": `+bits), "config.json: metric-store.precision: "+want)
	}
	f(inMetric(`"frequency": 1, "precision": 24.5`), `config.json: metrics.cpu_load.precision: expected a whole number of at most 19 digits; got "24.5"`)
	f(inMetric(`"frequency": 1, "precision": true`), "config.json: metrics.cpu_load.precision: expected a whole number; got a boolean")
	f(inMetric(`"frequency": 1, "extra-tags": ["a"`+strings.Repeat(`, "a"`, 16)+`]`),
		"config.json: metrics.cpu_load.extra-tags: expected at most 16 tags; got 17")
	f(inMetric(`"frequency": 1, "aliases": ["load", "", "cpu_load", "load"]`),
		"config.json: metrics.cpu_load.aliases[1]: the alias is empty",
		`config.json: metrics.cpu_load.aliases[2]: "cpu_load" is the name of a metric`,
		`config.json: metrics.cpu_load.aliases[3]: "load" is already an alias of "cpu_load"`)
	f(inMetric(`"frequency": 1, "extra-tags": ["device", "", "type-id", "device"]`),
		"config.json: metrics.cpu_load.extra-tags[1]: the tag is empty",
		`config.json: metrics.cpu_load.extra-tags[2]: "type-id" is part of the path of a series already`,
		`config.json: metrics.cpu_load.extra-tags[3]: "device" is listed twice`)
}

func TestRefusedStore(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); refused(t, text, want...) }
	const missing = `config.json: metric-store.retention-in-memory: missing: how long samples stay in memory, such as "48h"`
	retention := func(value string) string { return minimal(`"metric-store": {"retention-in-memory": ` + value + `}`) }

	f("{"+mainSection+","+metricsSection+"}", missing)
	f(retention(`""`), missing)
	f(retention("null"), missing)
	f(retention("172800"), `config.json: metric-store.retention-in-memory: expected a duration in quotes, such as "48h" or "10m"; got a number`)
	f(retention(`"2d"`), `config.json: metric-store.retention-in-memory: expected a duration in hours, minutes and seconds, `+
		`such as "48h", "10m" or "1h30m"; got "2d"`)
	f(retention(`"0s"`), `config.json: metric-store.retention-in-memory: expected a duration longer than 0; got "0s"`)
	f(retention(`"-48h"`), `config.json: metric-store.retention-in-memory: expected a duration longer than 0; got "-48h"`)
	f(inStore(`"checkpoint-interval": "0h"`), `config.json: metric-store.checkpoint-interval: expected a duration longer than 0; got "0h"`)
	f(inStore(`"memory-cap": -1`), "config.json: metric-store.memory-cap: expected 0 to 1000000 GB; got -1")
	f(inStore(`"memory-cap": 100000000000`), "config.json: metric-store.memory-cap: expected 0 to 1000000 GB; got 100000000000")
	f(inStore(`"checkpoints": {"sync": "never"}`), `config.json: metric-store.checkpoints.sync: expected "always", "off" or a duration such as "1s"; got "never"`)
	f(inStore(`"checkpoints": {"sync": "-1s"}`), `config.json: metric-store.checkpoints.sync: expected "always", "off" or a duration such as "1s"; got "-1s"`)
	f(inStore(`"checkpoints": {"max-wal-size": -1}`), "config.json: metric-store.checkpoints.max-wal-size: expected 0 or a number of bytes; got -1")
	f(inStore(`"cleanup": {"mode": "keep"}`), `config.json: metric-store.cleanup.mode: expected "delete" or "archive"; got "keep"`)
	f(inStore(`"cleanup": {"encoding": "v2"}`), `config.json: metric-store.cleanup.encoding: expected "compatible" or "compact"; got "v2"`)
	f(inStore(`"cleanup": {"mode": "archive"}`), `config.json: metric-store.cleanup.directory: missing: where mode "archive" writes`)
	for _, limit := range []string{"body-bytes", "values-per-query", "hosts", "devices-per-host", "name-bytes", "clusters-max", "connections", "connections-per-peer", "queries-per-user", "queries-per-service"} {
		f(minimal(`"limits": {"`+limit+`": 0}`), "config.json: limits."+limit+": expected at least 1; got 0")
	}
	clusters := func(all string) string { return minimal(`"limits": {"hosts": 100, "clusters": {` + all + `}}`) }
	f(clusters(`"": {}`), `config.json: limits.clusters[""]: the name of the cluster is empty`)
	f(clusters(`"a\u0000": {}`), `config.json: limits.clusters["a\x00"]: the cluster contains a control character`)
	f(clusters(`"a": 1`), "config.json: limits.clusters.a: expected an object; got a number")
	f(clusters(`"a": {"host": 1}`), `config.json: limits.clusters.a.host: unknown key; did you mean "hosts"?`)
	f(clusters(`"a": {"hosts": -1}`), "config.json: limits.clusters.a.hosts: expected 0 to 100, which is limits.hosts; got -1")
	f(clusters(`"*": {"hosts": 101}`), `config.json: limits.clusters["*"].hosts: expected 0 to 100, which is limits.hosts; got 101`)
	f(clusters(`"a": {"series": -1}`), "config.json: limits.clusters.a.series: expected 0 or a number of series; got -1")
	f(clusters(`"a": {"memory": -1}`), "config.json: limits.clusters.a.memory: expected 0 to 1000000 GB; got -1")
	f(clusters(`"a": {"memory": 1000001}`), "config.json: limits.clusters.a.memory: expected 0 to 1000000 GB; got 1000001")
	f(minimal(`"limits": {"name-bytes": 65536}`), "config.json: limits.name-bytes: expected at most 65535; got 65536")
}

func TestRefusedNATS(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); refused(t, text, want...) }
	const at = "config.json: metric-store.nats-subscriptions"
	const badURL = "config.json: nats.address: expected the URL of a NATS server, such as nats://localhost:4222, or several separated by commas"

	f(subscribed(`{}`), at+"[0].subscribe-to: missing: the NATS subject")
	f(subscribed(`null`), at+"[0].subscribe-to: missing: the NATS subject")
	f(subscribed(`{"subscribe-to": "ok"}, {"subscribe-to": "two words"}`),
		at+`[1].subscribe-to: expected a NATS subject: words separated by dots, without spaces, ">" only as the last word; got "two words"`)
	for _, subject := range []string{"a..b", ".", "a.", "a.>.b", `a\tb`, `a\u0007`} {
		if config, err := configs.Parse("c", []byte(subscribed(`{"subscribe-to": "`+subject+`"}`))); err == nil {
			t.Errorf("subject %q was taken: %v", subject, config.Subjects())
		}
	}
	for _, tag := range []string{"..", ".", "a/b", `a\\b`, `a\u0000`, strings.Repeat("c", 257)} {
		if _, err := configs.Parse("c", []byte(subscribed(`{"subscribe-to": "a", "cluster-tag": "`+tag+`"}`))); err == nil {
			t.Errorf("cluster-tag %q was taken", tag)
		}
	}
	f(subscribed(`{"subscribe-to": "a", "authorization": "Bearer eyJhbGciOi"}`), at+`[0].authorization: expected "header", "connection" or "trusted"`)
	f(subscribed(`{"subscribe-to": "a", "cluster-tag": "x"}, {"subscribe-to": "a", "cluster-tag": "x"}`),
		at+"[1]: duplicate of metric-store.nats-subscriptions[0]")
	f(subscribed(`{"subscribe-to": "a", "cluster-tag": "x"}, {"subscribe-to": "b"}, {"subscribe-to": "a", "authorization": "trusted"}`),
		at+"[2].authorization: expected the same as in metric-store.nats-subscriptions[0], which has the same subject")
	const overlaps = at + "[1].subscribe-to: overlaps with metric-store.nats-subscriptions[0], which requires another permission: a publisher allowed on one could write to the other"
	f(subscribed(`{"subscribe-to": "a.>"}, {"subscribe-to": "a.b", "authorization": "trusted"}`), overlaps)
	f(embedding(`{"subscribe-to": "a.b"}, {"subscribe-to": "a.*", "authorization": "header", "guests": true}`), overlaps)
	f(embedding(`{"subscribe-to": "a.>", "cluster-tag": "x"}, {"subscribe-to": "a.b", "cluster-tag": "y"}`), overlaps)
	f(subscribed(`{"subscribe-to": "a"}`+strings.Repeat(`, {"subscribe-to": "a"}`, 1000)), at+": expected at most 1000 subscriptions; got 1001")

	f(minimal(`"nats": {"address": "nats://h:4222", "embedded": {"listen": "127.0.0.1:0"}}`),
		"config.json: nats.embedded: cannot be combined with nats.address: messages come from one server")
	f(minimal(`"nats": {"embedded": {}}`), `config.json: nats.embedded.listen: missing: the address to listen on, such as "127.0.0.1:4222"`)
	f(minimal(`"nats": {"embedded": {"listen": "4222"}}`), `config.json: nats.embedded.listen: expected host:port, such as "127.0.0.1:8080" or "[::1]:8080"; got "4222"`)
	f(subscribed(`{"subscribe-to": "a", "dialect": "Influx"}`), at+`[0].dialect: expected "influx" or nothing; got "Influx"`)
	f(subscribed(`{"subscribe-to": "a", "cluster-tag": "x"}, {"subscribe-to": "a", "dialect": "influx"}`),
		at+"[1].dialect: expected the same as in metric-store.nats-subscriptions[0], which has the same subject")
	f(subscribed(`{"subscribe-to": "a", "authorization": "connection"}`),
		at+`[0].authorization: "connection" needs nats.auth-callout with an external server`)
	f(subscribed(`{"subscribe-to": "a", "stream": "S"}, {"subscribe-to": "b", "durable": "d"}, {"subscribe-to": "c", "stream": "a.b", "durable": ">"}`),
		at+"[0].durable: missing: the name of the consumer of the stream", at+"[1].stream: missing: the stream of the consumer",
		at+`[2].stream: expected a name without spaces, dots, "*", ">" and slashes; got "a.b"`, at+`[2].durable: expected a name without spaces, dots, "*", ">" and slashes; got ">"`)
	f(subscribed(`{"subscribe-to": "a", "cluster-tag": "x"}, {"subscribe-to": "a", "stream": "S", "durable": "d"}`),
		at+"[1].stream: expected the same as in metric-store.nats-subscriptions[0], which has the same subject")
	f(subscribed(`{"subscribe-to": "a", "stream": "S", "durable": "d"}, {"subscribe-to": "b", "stream": "S", "durable": "d"}`),
		at+"[1].durable: is also the consumer of metric-store.nats-subscriptions[0], which has another subject")

	guests := at + "[%d].guests: missing: the embedded server admits no client without a token or password any more; " +
		`set nats.username and nats.password for such clients, "nats": {"username": "NAME", "password": "file:PATH"}, ` +
		`or let every client publish here, with a warning at every start: add to the subscription "guests": true`
	f(embedding(`{"subscribe-to": "a", "authorization": "header"}, {"subscribe-to": "b"}, {"subscribe-to": "c", "authorization": "trusted", "stream": "S", "durable": "d"}`),
		fmt.Sprintf(guests, 0), fmt.Sprintf(guests, 2))
	f(strings.Replace(embedding(`{"subscribe-to": "a", "authorization": "header"}`), `"embedded"`, `"username": "u", "embedded"`, 1), fmt.Sprintf(guests, 0))
	f(embedding(`{"subscribe-to": "a", "guests": true}`), at+`[0].guests: cannot be combined with "authorization": "connection", which requires a token`)
	f(subscribed(`{"subscribe-to": "a.>", "guests": true}, {"subscribe-to": "a.b"}`),
		at+"[1].guests: expected the same as in metric-store.nats-subscriptions[0], whose subject is the same or overlaps")
	f(minimal(`"auth": {"jobs": {"nats": {"subject": "a.*"}}}`, `"nats": {"embedded": {"listen": ":0"}}`,
		`"metric-store": {"retention-in-memory": "48h", "nats-subscriptions": [{"subscribe-to": "a.b", "authorization": "header", "guests": true}]}`),
		at+"[0].guests: overlaps with auth.jobs.nats.subject, where clients without a token or password must not publish")

	const embedded, callout = "config.json: nats.embedded", "config.json: nats.auth-callout"
	f(minimal(`"nats": {"embedded": {"listen": ":0", "tls-cert-file": "c", "expiry-grace": "-1s"}}`),
		embedded+`.expiry-grace: expected a duration of at least 0; got "-1s"`, embedded+".tls-key-file: missing: tls-cert-file is set, and TLS needs both")
	f(minimal(`"nats": {"embedded": {"listen": ":0", "tls-key-file": "k", "max-connections": -1, "max-payload": 67108865, "messages-per-second": -1, "bytes-per-second": -1}}`),
		embedded+".tls-cert-file: missing: tls-key-file is set, and TLS needs both",
		embedded+".max-connections: expected 0 to 1048576; got -1", embedded+".max-payload: expected 0 to 67108864; got 67108865",
		embedded+".messages-per-second: expected 0 to 9223372036854775807; got -1", embedded+".bytes-per-second: expected 0 to 9223372036854775807; got -1")
	f(minimal(`"nats": {"embedded": {"listen": ":0"}, "auth-callout": {"account-seed": "file:", "xkey-seed": "env:", "account": "a b"}}`),
		callout+`.account-seed: expected a name after "file:"`, callout+`.xkey-seed: expected a name after "env:"`,
		callout+`.account: expected an account name without spaces; got "a b"`, callout+": cannot be combined with nats.embedded, which needs no auth callout")
	f(minimal(`"nats": {"address": "h", "auth-callout": {}}`),
		callout+".account-seed: missing: the nkey seed whose public key is the server's auth_callout.issuer")

	f(minimal(`"nats": {"address": "https://h:4222"}`), badURL)
	f(minimal(`"nats": {"address": "nats://"}`), badURL)
	f(minimal(`"nats": {"address": "nats://a,,nats://b"}`), badURL)
	f(minimal(`"nats": {"address": "nats://user:pass%zz@h"}`), badURL)
}

// All problems are reported at once, but not those that follow from another one.
func TestRefusedAtOnce(t *testing.T) {
	refused(t, `{
		"main": {"addr": 8082, "jwt-public-key": "AAAA", "users": "x"},
		"metrics": {"b": {"frequency": 0, "aggregation": "max"}, "a": {"frequency": "60"}},
		"metric-store": {"retention-in-memory": "2d", "cleanup": [], "nats-subscriptions": [{"subscribe-to": 5}]},
		"nats": 4
	}`,
		"config.json: main.addr: expected a string; got a number",
		`config.json: main.users: unknown key; did you mean "user"?`,
		"config.json: metrics.a.frequency: expected a whole number; got a string",
		`config.json: metric-store.retention-in-memory: expected a duration in hours, minutes and seconds, such as "48h", "10m" or "1h30m"; got "2d"`,
		"config.json: metric-store.cleanup: expected an object; got an array",
		"config.json: metric-store.nats-subscriptions[0].subscribe-to: expected a string; got a number",
		"config.json: nats: expected an object; got a number",
		"config.json: main.jwt-public-key: expected the 32 bytes of an Ed25519 public key in standard base64; got 3 bytes; "+
			`"ringstore key FILE" prints the key in this form`,
		"config.json: metrics.b.frequency: expected 1 to 31536000 seconds; got 0",
		`config.json: metrics.b.aggregation: expected "sum", "avg" or null; got "max"`,
	)
}

func TestManyProblemsAreBounded(t *testing.T) {
	var members []string
	for i := range 5000 {
		members = append(members, fmt.Sprintf(`"m%d": {"frequency": 0}`, i))
	}
	_, err := configs.Parse("config.json", []byte(minimal(`"metrics": {`+strings.Join(members, ",")+`}`)))
	problems, _ := errors.AsType[configs.Errors](err)
	if want := "config.json: 4900 more are not shown"; len(problems) != 101 || problems[100].String() != want {
		t.Fatalf("%d problems, the last: %v", len(problems), problems[max(0, len(problems)-1):])
	}
}
