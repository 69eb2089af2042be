package nats

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/auth/jwk"
	"github.com/ringstore/ringstore/memstore"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(serverVariable); config != "" {
		serveAlone(config)
	}
	if address := os.Getenv(publisherVariable); address != "" {
		publishAlone(address)
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "8") // the tests mostly wait
	goleak.VerifyTestMain(m)
}

// subject is the subject of most tests.
const subject = "hpc.metrics"

var (
	issuer      = authtest.NewIssuer("the issuer of these tests")
	otherIssuer = authtest.NewIssuer("somebody else")
)

// issuerName is the name of issuer in the configuration.
const issuerName = "jwt-public-key"

// roleMap maps the roles by name, and two more that hold on one cluster only.
var roleMap = map[string]auth.MappedRole{
	"admin": {Role: auth.Admin}, "api": {Role: auth.API}, "support": {Role: auth.Support},
	"manager": {Role: auth.Manager}, "user": {Role: auth.User},
	"api-alpha": {Role: auth.API, Clusters: []string{"alpha"}},
	"api-gamma": {Role: auth.API, Clusters: []string{"gamma"}},
}

func keys(of ...*authtest.Issuer) (list []jwk.Key) {
	for _, i := range of {
		list = append(list, jwk.Key{Public: i.PublicKey()})
	}
	return list
}

// token returns a valid token with these roles.
func token(roles ...string) string {
	if roles == nil {
		roles = []string{}
	}
	return issuer.Token(claims(map[string]any{"roles": roles}))
}

// claims returns valid claims with changes. A nil value removes a claim.
func claims(changes map[string]any) map[string]any {
	c := map[string]any{"sub": "alice", "roles": []string{"api"}, "exp": time.Now().Add(time.Hour).Unix()}
	for k, v := range changes {
		c[k] = v
		if v == nil {
			delete(c, k)
		}
	}
	return c
}

// harness has the real components that a Subscriber works with, and captures its logs and metrics.
type harness struct {
	t        testing.TB
	store    *memstore.Store
	chain    *auth.Chain
	gate     *gate
	registry *prometheus.Registry
	log      buffer
	audit    buffer
	auditor  *auth.Audit
	options  Options
	closed   bool // to guests; otherwise the embedded server admits them, unless there is a password
}

func newHarness(t testing.TB) *harness {
	t.Helper()
	h := &harness{t: t, registry: prometheus.NewRegistry()}
	var err error
	h.store, err = memstore.New(memstore.Options{
		Metrics:   []memstore.Metric{{Name: "load", Frequency: time.Second}},
		Retention: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	ingester := ingest.New(ingest.Options{Store: h.store, Writer: writer{h.store}, Registerer: h.registry})
	h.gate = &gate{Ingester: ingester, open: make(chan struct{})}
	h.gate.release()
	h.chain, err = auth.NewChain(auth.ChainConfig{Issuers: []auth.Issuer{
		{Name: issuerName, Keys: keys(issuer), RoleMap: roleMap, Leeway: -1},
		{Name: "other", Issuer: "other", Keys: keys(otherIssuer), RolesClaims: []string{"roles"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	h.auditor = auth.NewAudit(&h.audit, nil)
	h.options = Options{
		Subjects:      []Subject{{Subject: subject, ClusterTag: "alpha"}},
		Ingester:      h.gate,
		Authenticator: auth.NewCache(h.chain, nil),
		Audit:         h.auditor,
		Log:           slog.New(slog.NewTextHandler(&h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Registerer:    h.registry,
		ReconnectWait: 20 * time.Millisecond,
	}
	return h
}

// subscribe subscribes at an address; "" means an embedded server.
func (h *harness) subscribe(address string) *Subscriber {
	h.t.Helper()
	h.options.Address = address
	if address == "" && h.options.Embedded == nil {
		h.options.Embedded = &Embedded{Listen: "127.0.0.1:0"}
	}
	if address == "" && h.options.Username == "" && !h.closed {
		for i := range h.options.Subjects {
			s := &h.options.Subjects[i]
			s.Guests = s.Authorization != Connection && s.Events == nil
		}
	}
	s, err := Subscribe(h.options)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		h.close(s)
		if found := authtest.SecretsIn(h.log.String()+h.audit.String(), accountSeed, xkeySeed, calloutPassword); len(found) > 0 {
			h.t.Errorf("in the log: %q", found)
		}
	})
	return s
}

// withPassword makes the embedded server require a token, or the password of the function of this
// name.
func (h *harness) withPassword() *harness {
	h.options.Username, h.options.Password = withPassword()
	return h
}

func withPassword() (user, password string) { return "somebody", "open sesame" }

func (h *harness) close(s *Subscriber) {
	h.t.Helper()
	if err := s.Close(context.Background()); err != nil {
		h.t.Error(err)
	}
}

func (h *harness) hosts() []string { return h.store.Hosts("alpha") }

func (h *harness) stored(host string) bool { return slices.Contains(h.hosts(), host) }

// sum returns the sum of a metric over all series with these label values.
func (h *harness) sum(name string, labels ...string) (sum float64) {
	h.t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(values, l) }) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// writer writes to the store without a journal.
type writer struct{ store *memstore.Store }

func (w writer) WriteFrom(_ context.Context, from memstore.Origin, batch []memstore.Sample) ([]memstore.Refusal, error) {
	var r memstore.Record
	r.Begin(1, from)
	return w.store.WriteRecord(batch, &r, func(*memstore.Record) error { return nil })
}

// gate is an ingester that a test can block or make fail.
type gate struct {
	Ingester
	waiting atomic.Int64
	mu      sync.Mutex
	open    chan struct{}
	err     error // returned instead of storing
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

func (g *gate) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err = err
}

func (g *gate) Batch(ctx context.Context, src ingest.Source, batch []byte) (ingest.Report, error) {
	g.mu.Lock()
	open, err := g.open, g.err
	g.mu.Unlock()
	g.waiting.Add(1)
	defer g.waiting.Add(-1)
	select {
	case <-open:
	case <-ctx.Done():
		return ingest.Report{}, ctx.Err()
	}
	if err != nil {
		return ingest.Report{}, err
	}
	return g.Ingester.Batch(ctx, src, batch)
}

// failingAuthenticator is an authenticator that fails while failing is set.
type failingAuthenticator struct {
	Authenticator
	failing atomic.Bool
}

func (a *failingAuthenticator) Authenticate(ctx context.Context, token string) (*auth.Principal, error) {
	if a.failing.Load() {
		return nil, &auth.Overloaded{Code: auth.NoKeys}
	}
	return a.Authenticator.Authenticate(ctx, token)
}

func (a *failingAuthenticator) AuthenticateAt(ctx context.Context, token string, at time.Time) (*auth.Principal, error) {
	if _, err := a.Authenticate(ctx, token); err != nil {
		return nil, err
	}
	return a.Authenticator.AuthenticateAt(ctx, token, at)
}

// buffer is a log that may be read while it is being written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// runServer starts a plain NATS server. Port 0 means a free one.
func runServer(t testing.TB, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoLog, o.NoSigs = "127.0.0.1", true, true
	o.NoSystemAccount = o.AuthCallout == nil // so that all subscriptions are ours
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { stopServer(s) })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	return s
}

func stopServer(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func portOf(s *server.Server) int { return s.Addr().(*net.TCPAddr).Port }

// connect connects a publisher.
func connect(t testing.TB, address string, options ...natsgo.Option) *natsgo.Conn {
	t.Helper()
	quiet := natsgo.ErrorHandler(func(*natsgo.Conn, *natsgo.Subscription, error) {})
	closed := make(chan struct{})
	options = append([]natsgo.Option{quiet, natsgo.ClosedHandler(func(*natsgo.Conn) { close(closed) })}, options...)
	c, err := natsgo.Connect(address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); <-closed })
	return c
}

func addressOf(s *Subscriber) string { return "nats://" + s.Addr().String() }

// line returns a batch of one sample.
func line(host string) string { return fmt.Sprintf("load,hostname=%s,type=node value=1\n", host) }

// message returns a message whose header alternates names and values.
func message(body string, header ...string) *natsgo.Msg {
	m := natsgo.NewMsg(subject)
	for i := 0; i < len(header); i += 2 {
		m.Header.Add(header[i], header[i+1])
	}
	m.Data = []byte(body)
	return m
}

// bearer returns a message with a line of host and a valid token.
func bearer(host string) *natsgo.Msg {
	return message(line(host), "Authorization", "Bearer "+token("api"))
}

// publish sends messages and returns when the server has them.
func publish(t testing.TB, c *natsgo.Conn, messages ...*natsgo.Msg) {
	t.Helper()
	for _, m := range messages {
		if err := c.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if happened() {
			return
		}
	}
	t.Fatalf("timeout, waiting until %s", what)
}

func hostNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("h%04d", i)
	}
	return names
}

func bearers(hosts []string) []*natsgo.Msg {
	var messages []*natsgo.Msg
	for _, host := range hosts {
		messages = append(messages, bearer(host))
	}
	return messages
}

func mustContain(t testing.TB, what, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("%s lacks %q:\n%s", what, want, text)
	}
}

func mustNotContain(t testing.TB, what, text, secret string) {
	t.Helper()
	if strings.Contains(text, secret) {
		t.Errorf("%s holds %q", what, secret)
	}
}

// raw publishes a message with exactly this header, without the library.
func raw(t testing.TB, address, header, body string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, err = fmt.Fprintf(c, "CONNECT {\"verbose\":false,\"headers\":true}\r\nHPUB %s %d %d\r\n%s%s\r\nPING\r\n",
		subject, len(header), len(header)+len(body), header, body)
	if err != nil {
		t.Fatal(err)
	}
	for answer := bufio.NewScanner(c); answer.Scan(); {
		if answer.Text() == "PONG" {
			return
		}
	}
	t.Fatal("no answer")
}
