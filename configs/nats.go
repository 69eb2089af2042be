package configs

import (
	"cmp"
	"math"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// maxSubscriptions keeps comparing all pairs cheap.
const maxSubscriptions = 1000

func (c checker) subscriptions() {
	const path = "metric-store.nats-subscriptions"
	all := c.config.MetricStore.Subscriptions
	if len(all) > maxSubscriptions {
		c.fail(path, "expected at most %d subscriptions; got %d", maxSubscriptions, len(all))
		return
	}
	defaultAuthorization := AuthorizationHeader
	n := c.config.NATS
	if n.Embedded != nil {
		defaultAuthorization = AuthorizationConnection
	}
	// cc-metric-store trusts every message, so its configuration chooses nothing. A default would
	// refuse every message of its collectors, which do not notice.
	choose := n.Address != "" && n.Embedded == nil && !c.config.Auth.Disabled
	for i := range all {
		s := &all[i]
		at := joinIndex(path, i)
		if choose && s.SubscribeTo != "" && s.Authorization == "" {
			c.fail(at+".authorization", noAuthorization)
		}
		s.Authorization = cmp.Or(s.Authorization, defaultAuthorization)
		c.subscription(at, *s)
		if n := c.config.Auth.Jobs.NATS; n != nil && n.Authorization == AuthorizationHeader &&
			s.Authorization != AuthorizationHeader && overlap(n.Subject, s.SubscribeTo) {
			c.fail(at+".subscribe-to", "overlaps with auth.jobs.nats.subject: a publisher of job events could write metrics")
		}
		if n := c.config.Auth.Jobs.NATS; n != nil && s.Guests && overlap(n.Subject, s.SubscribeTo) {
			c.fail(at+".guests", "overlaps with auth.jobs.nats.subject, where clients without a token or password must not publish")
		}
		for j, earlier := range all[:i] {
			c.pair(at, *s, joinIndex(path, j), earlier)
		}
	}
}

const noAuthorization = `missing: with nats.address, choose what checks that a sender may write, and add to the subscription ` +
	`"authorization": "trusted" (the NATS server's own permissions: collectors stay as they are), ` +
	`"authorization": "connection" (a token as the NATS password of each collector: needs nats.auth-callout here and auth_callout in the NATS server), or ` +
	`"authorization": "header" (a token in the headers of each message: cc-metric-collector sends none)`

func (c checker) subscription(at string, s Subscription) {
	switch {
	case s.SubscribeTo == "":
		c.fail(at+".subscribe-to", "missing: the NATS subject")
	case !validSubject(s.SubscribeTo):
		c.fail(at+".subscribe-to", `expected a NATS subject: words separated by dots, without spaces, ">" only as the last word; got %s`,
			quote(s.SubscribeTo))
	}
	c.name(at+".cluster-tag", "the name", s.ClusterTag)
	if s.ClusterTag == "." || s.ClusterTag == ".." || strings.ContainsAny(s.ClusterTag, `/\`) {
		c.fail(at+".cluster-tag", "expected a cluster name that can also name a directory; got %s", quote(s.ClusterTag))
	}
	switch s.Authorization {
	case AuthorizationHeader:
	case AuthorizationConnection:
		if n := c.config.NATS; n.Address != "" && n.AuthCallout == nil && !c.config.Auth.Disabled {
			c.fail(at+".authorization", `"connection" needs nats.auth-callout with an external server`)
		}
	case AuthorizationTrusted:
		c.warn(at+".authorization", "messages need no token: everyone who may publish to "+
			quote(s.SubscribeTo)+" may write")
	default: // the value is not shown: it may be a token
		c.fail(at+".authorization", `expected "header", "connection" or "trusted"`)
	}
	c.guests(at, s)
	if s.Dialect != "" && s.Dialect != DialectInflux {
		c.fail(at+".dialect", "expected %q or nothing; got %s", DialectInflux, quote(s.Dialect))
	}
	c.stream(at, s)
}

// guests checks that clients without a token or password may publish only where that is intended.
func (c checker) guests(at string, s Subscription) {
	n := c.config.NATS
	switch {
	case s.Guests && s.Authorization == AuthorizationConnection:
		c.fail(at+".guests", `cannot be combined with "authorization": "connection", which requires a token`)
	case s.Guests && n.Embedded != nil:
		c.warn(at+".guests", "every client that reaches nats.embedded.listen may publish to "+quote(s.SubscribeTo)+" without a token or password")
	case s.Guests, n.Embedded == nil, s.Authorization == AuthorizationConnection, c.config.Auth.Disabled:
	case n.Username == "" || n.Password == "":
		c.fail(at+".guests", noGuests)
	}
}

const noGuests = `missing: the embedded server admits no client without a token or password any more; ` +
	`set nats.username and nats.password for such clients, "nats": {"username": "NAME", "password": "file:PATH"}, ` +
	`or let every client publish here, with a warning at every start: add to the subscription "guests": true`

func (c checker) stream(at string, s Subscription) {
	switch {
	case s.Stream != "" && s.Durable == "":
		c.fail(at+".durable", "missing: the name of the consumer of the stream")
	case s.Stream == "" && s.Durable != "":
		c.fail(at+".stream", "missing: the stream of the consumer")
	}
	for _, n := range [...]struct{ key, name string }{{"stream", s.Stream}, {"durable", s.Durable}} {
		if strings.ContainsAny(n.name, `.*>/\`) || strings.ContainsFunc(n.name, notInSubject) {
			c.fail(at+"."+n.key, `expected a name without spaces, dots, "*", ">" and slashes; got %s`, quote(n.name))
		}
	}
}

// pair checks two subscriptions against each other.
func (c checker) pair(at string, s Subscription, earlierAt string, earlier Subscription) {
	switch {
	case s.SubscribeTo == "":
	case s.SubscribeTo == earlier.SubscribeTo && s.ClusterTag == earlier.ClusterTag:
		c.fail(at, "duplicate of %s", earlierAt)
	case s.SubscribeTo == earlier.SubscribeTo && s.Dialect != earlier.Dialect:
		c.fail(at+".dialect", "expected the same as in %s, which has the same subject", earlierAt)
	case s.SubscribeTo == earlier.SubscribeTo && s.Authorization != earlier.Authorization:
		c.fail(at+".authorization", "expected the same as in %s, which has the same subject", earlierAt)
	case s.Guests != earlier.Guests && s.Authorization == earlier.Authorization && overlap(s.SubscribeTo, earlier.SubscribeTo):
		c.fail(at+".guests", "expected the same as in %s, whose subject is the same or overlaps", earlierAt)
	case s.SubscribeTo == earlier.SubscribeTo && (s.Stream != earlier.Stream || s.Durable != earlier.Durable):
		c.fail(at+".stream", "expected the same as in %s, which has the same subject", earlierAt)
	case s.SubscribeTo != earlier.SubscribeTo && s.Stream != "" && s.Stream == earlier.Stream && s.Durable == earlier.Durable:
		c.fail(at+".durable", "is also the consumer of %s, which has another subject", earlierAt)
	case s.SubscribeTo == earlier.SubscribeTo || !overlap(s.SubscribeTo, earlier.SubscribeTo):
	case s.Authorization != earlier.Authorization,
		s.Authorization == AuthorizationConnection && s.ClusterTag != earlier.ClusterTag:
		c.fail(at+".subscribe-to", "overlaps with %s, which requires another permission: a publisher allowed on one could write to the other", earlierAt)
	default:
		c.warn(at+".subscribe-to", "overlaps with "+earlierAt+": messages that match both are received twice")
	}
}

func (c checker) nats() {
	n := c.config.NATS
	subscribed := len(c.config.MetricStore.Subscriptions) > 0
	if n.Embedded != nil {
		c.embedded(*n.Embedded)
	}
	if n.AuthCallout != nil {
		c.authCallout(*n.AuthCallout)
	}
	c.valueOrReference("nats.password", string(n.Password))
	switch {
	case n.Address != "" && n.Embedded != nil:
		c.fail("nats.embedded", "cannot be combined with nats.address: messages come from one server")
	case n.Address != "" && !validServers(n.Address):
		c.fail("nats.address", "expected the URL of a NATS server, such as nats://localhost:4222, or several separated by commas")
	case n.Address == "" && n.Embedded == nil && subscribed:
		c.warn("metric-store.nats-subscriptions", "have no effect without nats.address or nats.embedded")
	case n.Embedded != nil && !subscribed && c.config.Auth.Jobs.NATS == nil:
		c.warn("nats.embedded", "has no use without metric-store.nats-subscriptions")
	}
	if (n.Username == "") != (n.Password == "") {
		c.warn("nats", "username and password are used only if both are given")
	}
}

// maxPayload is the largest max_payload that a NATS server accepts, in bytes.
const maxPayload = 64 << 20

func (c checker) embedded(e EmbeddedNATS) {
	const path = "nats.embedded"
	if e.Listen == "" {
		c.fail(path+".listen", `missing: the address to listen on, such as "127.0.0.1:4222"`)
	} else {
		c.hostPort(path+".listen", e.Listen)
	}
	if e.TLSCertFile != "" && e.TLSKeyFile == "" {
		c.fail(path+".tls-key-file", "missing: tls-cert-file is set, and TLS needs both")
	}
	if e.TLSKeyFile != "" && e.TLSCertFile == "" {
		c.fail(path+".tls-cert-file", "missing: tls-key-file is set, and TLS needs both")
	}
	for _, limit := range []struct {
		key        string
		value, max int64
	}{
		{"max-connections", int64(e.MaxConnections), 1 << 20},
		{"max-payload", e.MaxPayload, maxPayload},
		{"messages-per-second", valueOr(e.MessagesPerSecond, 0), math.MaxInt64},
		{"bytes-per-second", valueOr(e.BytesPerSecond, 0), math.MaxInt64},
	} {
		if limit.value < 0 || limit.value > limit.max {
			c.fail(path+"."+limit.key, "expected 0 to %d; got %d", limit.max, limit.value)
		}
	}
}

func valueOr(p *int64, otherwise int64) int64 {
	if p == nil {
		return otherwise
	}
	return *p
}

// Rates returns the limits of a connection per second, 0 for none.
func (e EmbeddedNATS) Rates() (messages, bytes int64) {
	return valueOr(e.MessagesPerSecond, DefaultMessagesPerSecond), valueOr(e.BytesPerSecond, DefaultBytesPerSecond)
}

func (c checker) authCallout(a AuthCallout) {
	const path = "nats.auth-callout"
	n := c.config.NATS
	if a.AccountSeed == "" {
		c.fail(path+".account-seed", "missing: the nkey seed whose public key is the server's auth_callout.issuer")
	}
	c.valueOrReference(path+".account-seed", string(a.AccountSeed))
	c.valueOrReference(path+".xkey-seed", string(a.XKeySeed))
	if strings.ContainsFunc(a.Account, notInSubject) {
		c.fail(path+".account", "expected an account name without spaces; got %s", quote(a.Account))
	}
	connection := func(s Subscription) bool { return s.Authorization == AuthorizationConnection }
	switch {
	case n.Embedded != nil:
		c.fail(path, "cannot be combined with nats.embedded, which needs no auth callout")
	case c.config.Auth.Jobs.NATS != nil && c.config.Auth.Jobs.NATS.Authorization == AuthorizationConnection:
	case !slices.ContainsFunc(c.config.MetricStore.Subscriptions, connection):
		c.warn(path, `accepts no connection: no subscription has "authorization": "connection"`)
	}
}

// validServers reports whether list contains URLs or host:port separated by commas, as nats.go
// accepts them.
func validServers(list string) bool {
	for server := range strings.SplitSeq(list, ",") {
		server = strings.TrimSpace(server)
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		u, err := url.Parse(server)
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return false
		}
	}
	return true
}

// validSubject follows https://docs.nats.io/nats-concepts/subjects.
func validSubject(subject string) bool {
	if strings.ContainsFunc(subject, notInSubject) {
		return false
	}
	words := strings.Split(subject, ".")
	full := slices.Index(words, ">")
	return !slices.Contains(words, "") && (full < 0 || full == len(words)-1)
}

func notInSubject(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// overlap reports whether a subject can match both a and b: "*" matches one word, a last ">" one or
// more.
func overlap(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		if as[i] == ">" || bs[i] == ">" {
			return true
		}
		if as[i] != bs[i] && as[i] != "*" && bs[i] != "*" {
			return false
		}
	}
	return len(as) == len(bs)
}
