package nats

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/api/internal/ciphers"
	"github.com/ringstore/ringstore/auth"
)

const (
	maxPayload     = 64 << 20    // bytes of a message; nats-server allows no more
	maxControlLine = 16 << 10    // bytes of CONNECT, with a token as password
	syncStreams    = time.Second // like the journal's
)

// embedded is a NATS server in this process. It has two kinds of clients: our own, which connects
// in memory and may only receive, and publishers, which connect over TCP and may only publish. So
// no client can read the messages of others, whose headers may have tokens.
type embedded struct {
	o          *Options
	server     *server.Server // nil until start
	log        *serverLog
	own        credential
	ownID      atomic.Uint64 // of our own client's connection
	inbox      string        // prefix of the subjects for answers to our own client
	publishers *publishers
	rates      *rates // nil: no limits
	subjects   []string
	streams    bool
	guests     *server.Account // nil: none may publish
	host       string
	addr       net.Addr // nil until it listens

	running atomic.Pointer[server.Server] // server, for readers while it starts
}

func newEmbedded(o *Options, c *counters) *embedded {
	e := &embedded{
		o:     o,
		own:   credential{"ringstore-" + rand.Text(), rand.Text()},
		inbox: "_RINGSTORE." + rand.Text(),
		rates: newRates(o.Embedded, c, o.Log),
	}
	for _, s := range o.Subjects {
		e.subjects = append(e.subjects, s.Subject)
		e.streams = e.streams || s.Stream != ""
	}
	admission := newAdmission(o, c)
	admission.embedded, admission.password = true, credential{o.Username, o.Password}
	e.publishers = newPublishers(admission, o.Embedded.ExpiryGrace, e)
	e.log = newServerLog(o.Log, e.violation)
	return e
}

// start starts the server for our own client only. listen admits publishers.
func (e *embedded) start() error {
	host, port, err := splitListen(e.o.Embedded.Listen)
	if err != nil {
		return err
	}
	e.host = host
	options, err := e.options(port)
	if err != nil {
		return err
	}
	if e.server, err = server.NewServer(options); err != nil {
		return fmt.Errorf("embedded server: %w", err)
	}
	e.running.Store(e.server)
	e.server.SetLogger(e.log, false, false)
	e.server.Start()
	if !e.server.ReadyForConnections(10 * time.Second) {
		e.shutdown()
		return fmt.Errorf("embedded server: did not start: %w", e.log.fatal())
	}
	if e.guests, err = e.openGuestAccount(); err != nil {
		e.shutdown()
		return fmt.Errorf("embedded server: %w", err)
	}
	e.warn()
	return nil
}

// options returns the server's options. Everything else is off: routes, gateways, leaf nodes,
// websocket, MQTT, monitoring, profiling.
func (e *embedded) options(port int) (*server.Options, error) {
	o := e.o.Embedded
	options := &server.Options{
		ServerName:                 "ringstore",
		Host:                       e.host,
		Port:                       port,
		DontListen:                 true, // see listen
		NoLog:                      true, // see SetLogger
		NoSigs:                     true,
		NoSystemAccount:            true,
		MaxConn:                    o.MaxConnections + 1, // and our own
		MaxPayload:                 o.MaxPayload,
		MaxPending:                 max(server.MAX_PENDING_SIZE, 2*int64(o.MaxPayload)),
		MaxControlLine:             maxControlLine,
		CustomClientAuthentication: e,
	}
	if e.streams {
		options.JetStream, options.StoreDir, options.SyncInterval = true, o.StoreDir, syncStreams
		options.DisableJetStreamBanner = true
	}
	var err error
	options.TLSConfig, err = o.certificate()
	return options, err
}

// certificate returns the TLS configuration, nil without a certificate.
func (o *Embedded) certificate() (*tls.Config, error) {
	if o.CertFile == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("embedded server: TLS certificate %q with key %q: %w", o.CertFile, o.KeyFile, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, CipherSuites: ciphers.AEAD()}, nil
}

// splitListen splits host:port. It translates port 0, which means 4222 to nats-server, to a random
// port.
func splitListen(listen string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("embedded server: listen: %w", err)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("embedded server: listen: %q is not a port number", p)
	}
	if n == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(n), nil
}

func (e *embedded) warn() {
	o := e.o
	if subjects, open := e.publishers.admission.guestSubjects(request{}); open && o.Authenticator != nil {
		o.Log.Warn("embedded NATS server accepts publishers without a password", "listen", o.Embedded.Listen, "subjects", subjects)
	}
	if ip := net.ParseIP(e.host); o.Embedded.CertFile == "" && e.host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		o.Log.Warn("embedded NATS server is reachable from other machines without TLS: tokens cross the network unencrypted", "listen", o.Embedded.Listen)
	}
}

// listen admits publishers.
func (e *embedded) listen() error {
	e.server.AcceptLoop(make(chan struct{})) // returns when the port is bound, or binding failed
	if e.addr = e.server.Addr(); e.addr == nil {
		return fmt.Errorf("embedded server: %w", e.log.fatal())
	}
	e.log.log.Info("embedded NATS server listens", "addr", e.addr.String())
	return nil
}

// shutdown disconnects all clients and waits for the server's goroutines.
func (e *embedded) shutdown() {
	if e.server == nil {
		return
	}
	e.server.Shutdown()
	e.server.WaitForShutdown()
}

// connectOptions returns the options of our own client.
func (e *embedded) connectOptions() []natsgo.Option {
	return []natsgo.Option{
		natsgo.InProcessServer(e.server),
		natsgo.UserInfo(e.own.user, e.own.password),
		natsgo.CustomInboxPrefix(e.inbox),
	}
}

// Check implements [server.Authentication].
func (e *embedded) Check(c server.ClientAuthentication) bool {
	if c.Kind() != server.CLIENT {
		return false
	}
	opts := c.GetOpts()
	r := request{given: credential{opts.Username, opts.Password}, token: opts.Token}
	if inProcess(c.RemoteAddress()) {
		if !r.given.equal(e.own) {
			return false
		}
		e.ownID.Store(c.GetID())
		c.RegisterUser(&server.User{Username: "ringstore", Permissions: e.mayReceive()})
		return true
	}
	r.host = hostOf(c.RemoteAddress())
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	g, deadline, err := e.publishers.admit(ctx, c.GetID(), r)
	if err != nil {
		if _, refused := reasonOf(err); !refused {
			e.disconnect(c.GetID()) // a client that is refused twice does not reconnect
		}
		return false
	}
	name := "publisher"
	var account *server.Account // nil: the global one
	switch {
	case g.principal != nil:
		name = g.principal.Subject
	case g.guest:
		name, account = "guest", e.guests
	}
	c.RegisterUser(&server.User{Username: name, Account: account, Permissions: mayPublish(g.subjects), ConnectionDeadline: deadline})
	return true
}

// connected implements [clientConnections].
func (e *embedded) connected(id uint64) bool { return e.server.GetClient(id) != nil }

// clients returns the number of connections.
func (e *embedded) clients() int {
	if s := e.running.Load(); s != nil {
		return s.NumClients()
	}
	return 0
}

// disconnect implements [clientConnections].
func (e *embedded) disconnect(id uint64) {
	_ = e.server.DisconnectClientByID(id) // fails only if it has gone
}

// checkConnections closes the connections whose grant no longer holds or which exceed a rate.
func (e *embedded) checkConnections() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	e.publishers.check(ctx)
	if e.rates != nil {
		e.rates.check(e.server, e.ownID.Load(), e.disconnect)
	}
}

func (e *embedded) limitedLogs() []*rateLimitedLog {
	limitedLogs := append(e.log.limitedLogs(), e.publishers.limitedLogs()...)
	if e.rates != nil {
		limitedLogs = append(limitedLogs, e.rates.exceeded)
	}
	return append(limitedLogs, e.publishers.admission.limitedLogs()...)
}

// violation counts and audits that a connection asked for more than it was granted. The publisher
// may not notice: its library logs it at most.
func (e *embedded) violation(host string, id uint64) {
	a := e.publishers.admission
	a.counters.violations.Inc()
	var p *auth.Principal
	if one := e.publishers.get(id); one != nil {
		p = one.principal
	}
	auditRefusal(a.o.Audit, host, p, auth.InsufficientRole)
}

// hostOf returns an address without its port.
func hostOf(addr net.Addr) string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	return host
}

// inProcess reports whether a client is connected by a [net.Pipe], which is impossible from
// outside.
func inProcess(addr net.Addr) bool { return addr != nil && addr.Network() == "pipe" }

func (e *embedded) mayReceive() *server.Permissions {
	p := &server.Permissions{
		Subscribe: &server.SubjectPermission{Allow: append([]string{e.inbox + ".>"}, e.subjects...)},
		Publish:   &server.SubjectPermission{Deny: []string{">"}},
	}
	if e.streams {
		p.Publish = &server.SubjectPermission{Allow: []string{"$JS.API.>", "$JS.ACK.>"}}
	}
	return p
}

// notForPublishers are the server's own subjects, which no wildcard of a configured subject may
// cover.
var notForPublishers = [...]string{"$JS.>", "$SYS.>", "_INBOX.>", "_RINGSTORE.>"}

func mayPublish(subjects []string) *server.Permissions {
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: subjects, Deny: notForPublishers[:]},
		Subscribe: &server.SubjectPermission{Deny: []string{">"}},
	}
}
