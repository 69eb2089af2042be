package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// collected is one line of what a collector sends.
type collected struct {
	text   string
	metric string
	tags   map[string]string
	value  float64
	second int64 // of its timestamp
}

// collectorSample returns two intervals of a real cc-metric-collector, moved to the last minute.
// Each line about a disk is repeated for another disk with another value: only the tag "device",
// ignored by default, tells them apart.
func collectorSample(t testing.TB) (lines []collected) {
	t.Helper()
	data, err := os.ReadFile("../../api/lineprotocol/testdata/collector-sample.txt")
	if err != nil {
		t.Fatal(err)
	}
	const first = 1795308589 // the second of the sample's first line
	shift := (time.Now().Unix() - 60 - first) * 1e9
	timestamp := regexp.MustCompile(`[0-9]+$`)
	for text := range strings.Lines(string(data)) {
		text = timestamp.ReplaceAllStringFunc(strings.TrimSuffix(text, "\n"), func(s string) string {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return strconv.FormatInt(n+shift, 10)
		})
		lines = append(lines, readLine(t, text))
		if strings.Contains(text, "device=/dev/vda") {
			other := strings.NewReplacer("device=/dev/vda", "device=/dev/vdb", "value=", "value=9").Replace(text)
			lines = append(lines, readLine(t, other))
		}
	}
	if len(lines) != 190 {
		t.Fatalf("%d lines", len(lines))
	}
	return lines
}

// readLine parses a line without escapes.
func readLine(t testing.TB, text string) collected {
	t.Helper()
	part := strings.Split(text, " ")
	l := collected{text: text, tags: make(map[string]string)}
	for i, tag := range strings.Split(part[0], ",") {
		name, value, _ := strings.Cut(tag, "=")
		if i == 0 {
			l.metric = name
			continue
		}
		l.tags[name] = value
	}
	var errs [2]error
	l.value, errs[0] = strconv.ParseFloat(strings.TrimRight(strings.TrimPrefix(part[1], "value="), "iu"), 64)
	l.second, errs[1] = strconv.ParseInt(part[2][:10], 10, 64)
	if errs[0] != nil || errs[1] != nil {
		t.Fatal(text, errs)
	}
	return l
}

// query returns a query for the line's series only, around its time.
func (l collected) query() string {
	q := map[string]any{"metric": l.metric, "host": l.tags["hostname"], "type": l.tags["type"], "type-ids": []string{l.tags["type-id"]}}
	if device := l.tags["device"]; device != "" {
		q["subtype"], q["subtype-ids"] = "device", []string{device}
	}
	if subtype := l.tags["stype"]; subtype != "" {
		q["subtype"], q["subtype-ids"] = subtype, []string{l.tags["stype-id"]}
	}
	body, err := json.Marshal(map[string]any{
		"cluster": l.tags["cluster"], "from": l.second - 20, "to": l.second + 20, "queries": []any{q},
	})
	if err != nil {
		panic(err)
	}
	return string(body)
}

// TestCollectorSample: each line that a collector sends is counted and found with its value, over
// every transport.
func TestCollectorSample(t *testing.T) {
	lines := collectorSample(t)
	var batch strings.Builder
	metrics := make(map[string]any)
	for _, l := range lines {
		batch.WriteString(l.text + "\n")
		m := metric(5, nil)
		if l.tags["device"] != "" {
			m["extra-tags"] = []string{"device"}
		}
		metrics[l.metric] = m
	}
	f := func(name, transport string, change func(settings), push func(t *testing.T, p *program)) {
		t.Run(name, func(t *testing.T) {
			s := newSettings(t)
			s["metrics"] = metrics
			change(s)
			p := process(t, s)
			push(t, p)
			cmdtest.Eventually(t, "all lines", func() bool {
				return p.metric(t, "ringstore_ingest_samples_total") >= float64(len(lines))
			})
			for _, c := range []struct {
				name string
				want int
			}{
				{"samples_total", len(lines)},
				{"rejected_lines_total", 0},
				{"unknown_metric_lines_total", 0},
				{"duplicate_lines_total", 0},
			} {
				if got := p.metric(t, "ringstore_ingest_"+c.name, `transport="`+transport+`"`); got != float64(c.want) {
					t.Errorf("%s: %v, want %d", c.name, got, c.want)
				}
			}
			before := findLines(t, p, lines)
			p.stopWell(t)
			if after := findLines(t, process(t, s), lines); after != before {
				t.Error("after a restart the answers differ")
			}
		})
	}
	f("HTTP", "http", func(settings) {}, func(t *testing.T, p *program) {
		got := p.send(t, token("api"), "POST", "/api/write/?cluster=testcluster", batch.String())
		if got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	})
	f("NATS, embedded", "nats", func(settings) {}, func(t *testing.T, p *program) {
		publish(t, connect(t, p.nats), message(token("api"), batch.String()))
	})
	broker := startBroker(t)
	f("NATS, a server elsewhere, without headers", "nats", func(s settings) {
		s["nats"] = map[string]any{"address": broker.ClientURL(), "username": brokerUser, "password": brokerPassword}
		s["metric-store"]["nats-subscriptions"] = []any{map[string]any{"subscribe-to": subject, "authorization": "trusted"}}
	}, func(t *testing.T, p *program) {
		p.says(t, regexp.MustCompile(`msg="NATS connected"`))
		c := connect(t, broker.ClientURL(), natsgo.UserInfo(brokerUser, brokerPassword))
		publish(t, c, message("", batch.String()))
		if !strings.Contains(p.stderr.String(), "trusted") {
			t.Error("no warning of a trusted subscription")
		}
		if strings.Contains(p.stderr.String(), brokerPassword) {
			t.Error("the password is in the log")
		}
	})
}

// findLines queries each line and returns all answers.
func findLines(t *testing.T, p *program, lines []collected) string {
	t.Helper()
	var all strings.Builder
	for _, l := range lines {
		got := p.send(t, token("api"), "GET", "/api/query/?version=v2", l.query())
		all.WriteString(got.body)
		results := got.answer(t).Results
		if len(results) != 1 || len(results[0]) != 1 || results[0][0].Error != nil {
			t.Errorf("%s: %s", l.text, got.body)
			continue
		}
		found := false
		for second, value := range results[0][0].ByTime() {
			found = found || asPrinted(value, l.value) && second-2 <= l.second && l.second <= second+2
		}
		if !found {
			t.Errorf("%s: is not in %s", l.text, got.body)
		}
	}
	return all.String()
}

// asPrinted reports whether an answer's value is the one that was sent, to 15 significant digits.
func asPrinted(value, sent float64) bool { return math.Abs(value-sent) <= 5e-15*math.Abs(sent) }

const (
	brokerUser     = "collectors"
	brokerPassword = "not-for-the-log"
)

// startBroker starts an external NATS server.
func startBroker(t testing.TB) *server.Server {
	t.Helper()
	broker, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		Username: brokerUser, Password: brokerPassword,
	})
	if err != nil {
		t.Fatal(err)
	}
	broker.Start()
	if !broker.ReadyForConnections(cmdtest.Patience) {
		t.Fatal("the NATS server does not start")
	}
	t.Cleanup(func() {
		broker.Shutdown()
		broker.WaitForShutdown()
	})
	return broker
}

// TestTimestampUnits: the same time in s, ms, us and ns; no timestamp means now.
func TestTimestampUnits(t *testing.T) {
	p := serve(t, newSettings(t))
	second := now() - 300
	for host, digits := range map[string]string{"s": "", "ms": "000", "us": "000000", "ns": "000000000"} {
		p.write(t, fmt.Sprintf("cpu_load,hostname=%s value=7 %d%s", host, second, digits))
		if got := p.samples(t, host, "cpu_load", second-60, second+60); len(got) != 1 || got[second] != 7 {
			t.Errorf("%s: %v, want 7 at %d", host, got, second)
		}
	}
	p.write(t, "cpu_load,hostname=none value=7")
	if got := p.samples(t, "none", "cpu_load", now()-120, now()+120); len(got) != 1 {
		t.Errorf("without a timestamp: %v", got)
	}
}

// TestLinesOfOtherDevicesStayApart: one metric of hwthreads, a socket and two network devices in
// one batch.
func TestLinesOfOtherDevicesStayApart(t *testing.T) {
	p := serve(t, newSettings(t))
	second := now() - 300
	devices := []string{
		"type=hwthread,type-id=0", "type=hwthread,type-id=1", "type=socket,type-id=0",
		"type=node,stype=network,stype-id=eth0", "type=node,stype=network,stype-id=lo",
	}
	var batch strings.Builder
	for i, d := range devices {
		fmt.Fprintf(&batch, "flops_any,cluster=testcluster,hostname=h,%s value=%d %d\n", d, 1<<i, second)
	}
	p.write(t, batch.String())
	for i, d := range devices {
		l := readLine(t, fmt.Sprintf("flops_any,cluster=testcluster,hostname=h,%s value=%d %d", d, 1<<i, second))
		a := p.query(t, l.query())
		if got := a.Results[0][0].ByTime(); len(got) != 1 || got[second] != l.value {
			t.Errorf("%s: %v, want %v", d, got, l.value)
		}
	}
}
