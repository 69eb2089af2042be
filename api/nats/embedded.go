package nats

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
)

const (
	maxPayload     = 8 << 20  // bytes of a message, headers included
	maxControlLine = 16 << 10 // bytes of CONNECT, which may hold a token as password
)

// embedded is a NATS server in this process. It knows two kinds of clients:
// our own, which comes through memory and may only subscribe, and publishers,
// who come over TCP and may only publish: nobody can read the messages of
// others, which have tokens in their headers.
type embedded struct {
	server     *server.Server
	log        *serverLog
	own        credential
	publishers credential // empty: anybody
	subjects   []string
	host       string
	addr       net.Addr // nil until it listens
}

type credential struct{ user, password string }

// startEmbedded starts the server for connections from inside only.
func startEmbedded(o Options) (*embedded, error) {
	host, port, err := splitListen(o.Listen)
	if err != nil {
		return nil, err
	}
	e := &embedded{
		log:        newServerLog(o.Log),
		own:        credential{"ringstore-" + rand.Text(), rand.Text()},
		publishers: credential{o.Username, o.Password},
		host:       host,
	}
	for _, s := range o.Subjects {
		e.subjects = append(e.subjects, s.Subject)
	}
	e.server, err = server.NewServer(&server.Options{
		ServerName:                 "ringstore",
		Host:                       host,
		Port:                       port,
		DontListen:                 true, // see listen
		NoLog:                      true, // see SetLogger
		NoSigs:                     true,
		NoSystemAccount:            true,
		MaxPayload:                 maxPayload,
		MaxControlLine:             maxControlLine,
		CustomClientAuthentication: e,
	})
	if err != nil {
		return nil, fmt.Errorf("embedded server: %w", err)
	}
	e.server.SetLogger(e.log, false, false)
	e.server.Start()
	if !e.server.ReadyForConnections(10 * time.Second) {
		e.shutdown()
		return nil, fmt.Errorf("embedded server did not start: %w", e.log.fatal())
	}
	e.warn(o)
	return e, nil
}

// splitListen takes host:port apart. For nats-server port 0 means 4222.
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

func (e *embedded) warn(o Options) {
	if e.publishers == (credential{}) {
		o.Log.Warn("embedded NATS server takes publishers without a password", "listen", o.Listen)
	}
	if ip := net.ParseIP(e.host); e.host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		o.Log.Warn("embedded NATS server is reachable from other machines without TLS: tokens cross the network in the clear", "listen", o.Listen)
	}
}

// listen lets publishers in.
func (e *embedded) listen() error {
	e.server.AcceptLoop(make(chan struct{})) // returns when the port is bound, or cannot be
	if e.addr = e.server.Addr(); e.addr == nil {
		return fmt.Errorf("embedded server: %w", e.log.fatal())
	}
	e.log.log.Info("embedded NATS server listens", "addr", e.addr.String())
	return nil
}

// shutdown disconnects everybody and waits for the server's goroutines.
func (e *embedded) shutdown() {
	e.server.Shutdown()
	e.server.WaitForShutdown()
}

// connectOptions are those of our own client.
func (e *embedded) connectOptions() []natsgo.Option {
	return []natsgo.Option{natsgo.InProcessServer(e.server), natsgo.UserInfo(e.own.user, e.own.password)}
}

// Check implements [server.Authentication].
func (e *embedded) Check(c server.ClientAuthentication) bool {
	if c.Kind() != server.CLIENT {
		return false
	}
	given := credential{c.GetOpts().Username, c.GetOpts().Password}
	if inProcess(c.RemoteAddress()) {
		if !given.equal(e.own) {
			return false
		}
		c.RegisterUser(&server.User{Username: "ringstore", Permissions: e.mayReceive()})
		return true
	}
	if e.publishers != (credential{}) && !given.equal(e.publishers) {
		return false
	}
	c.RegisterUser(&server.User{Username: "publisher", Permissions: e.mayPublish()})
	return true
}

// inProcess tells whether a client's address is that of a [net.Pipe], which no
// connection from outside can have.
func inProcess(addr net.Addr) bool { return addr != nil && addr.Network() == "pipe" }

func (c credential) equal(other credential) bool {
	user := subtle.ConstantTimeCompare([]byte(c.user), []byte(other.user))
	password := subtle.ConstantTimeCompare([]byte(c.password), []byte(other.password))
	return user&password == 1
}

func (e *embedded) mayReceive() *server.Permissions {
	return &server.Permissions{
		Subscribe: &server.SubjectPermission{Allow: e.subjects},
		Publish:   &server.SubjectPermission{Deny: []string{">"}},
	}
}

func (e *embedded) mayPublish() *server.Permissions {
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: e.subjects},
		Subscribe: &server.SubjectPermission{Deny: []string{">"}},
	}
}

// serverLog takes what the server logs. Anybody who can connect can make it
// complain, so that is bounded in number and length.
type serverLog struct {
	log              *slog.Logger
	warnings, errors *note
	death            chan string // the text of the first fatal error
}

func newServerLog(log *slog.Logger) *serverLog {
	return &serverLog{
		log:      log,
		warnings: newNote(log, slog.LevelWarn, 10, "embedded NATS server"),
		errors:   newNote(log, slog.LevelError, 10, "embedded NATS server"),
		death:    make(chan string, 1),
	}
}

func (l *serverLog) notes() []*note { return []*note{l.warnings, l.errors} }

// fatal is the error that the server could not go on with.
func (l *serverLog) fatal() error {
	select {
	case text := <-l.death:
		return errors.New(text)
	default:
		return errors.New("no reason given")
	}
}

// Noticef implements [server.Logger], as the others.
func (l *serverLog) Noticef(format string, v ...any) {
	l.log.Debug("embedded NATS server", "says", said(format, v))
}

func (l *serverLog) Warnf(format string, v ...any)  { l.warnings.add(1, "says", said(format, v)) }
func (l *serverLog) Errorf(format string, v ...any) { l.errors.add(1, "says", said(format, v)) }

// Fatalf must not end the process: who started the server sees that it did not.
func (l *serverLog) Fatalf(format string, v ...any) {
	select {
	case l.death <- said(format, v):
	default:
	}
}

func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}

// said is the server's text without the pieces of a client's input that it
// quotes when it does not understand them: these may hold credentials.
func said(format string, v []any) string {
	text := fmt.Sprintf(format, v...)
	for _, quote := range []string{"proto=", "(snip:"} {
		text, _, _ = strings.Cut(text, quote)
	}
	return clip(text)
}
