package configs

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// maxSubscriptions keeps the comparison of each with each cheap.
const maxSubscriptions = 1000

func (c checker) subscriptions() {
	const path = "metric-store.nats-subscriptions"
	all := c.config.MetricStore.Subscriptions
	if len(all) > maxSubscriptions {
		c.fail(path, "must be at most %d", maxSubscriptions)
		return
	}
	for i := range all {
		s := &all[i]
		at := joinIndex(path, i)
		s.Authorization = cmp.Or(s.Authorization, AuthorizationHeader)
		c.subscription(at, *s)
		for j, earlier := range all[:i] {
			c.pair(at, *s, joinIndex(path, j), earlier)
		}
	}
}

func (c checker) subscription(at string, s Subscription) {
	switch {
	case s.SubscribeTo == "":
		c.fail(at+".subscribe-to", "missing: the NATS subject")
	case !validSubject(s.SubscribeTo):
		c.fail(at+".subscribe-to", `%s is no NATS subject: words between dots, without spaces, ">" only as the last`,
			quote(s.SubscribeTo))
	}
	c.name(at+".cluster-tag", "the name", s.ClusterTag)
	if s.ClusterTag == "." || s.ClusterTag == ".." || strings.ContainsAny(s.ClusterTag, `/\`) {
		c.fail(at+".cluster-tag", "%s cannot be a directory's name, so it cannot be a cluster's", quote(s.ClusterTag))
	}
	switch s.Authorization {
	case AuthorizationHeader:
	case AuthorizationTrusted:
		c.warn(at+".authorization", "messages are not asked for a token: whoever may publish to "+
			quote(s.SubscribeTo)+" may write")
	default: // not shown: it may be a token
		c.fail(at+".authorization", `must be "header" or "trusted"`)
	}
}

// pair reports what is wrong with two subscriptions taken together.
func (c checker) pair(at string, s Subscription, earlierAt string, earlier Subscription) {
	switch {
	case s.SubscribeTo == "":
	case s.SubscribeTo == earlier.SubscribeTo && s.ClusterTag == earlier.ClusterTag:
		c.fail(at, "the same as %s", earlierAt)
	case s.SubscribeTo == earlier.SubscribeTo && s.Authorization != earlier.Authorization:
		c.fail(at+".authorization", "differs from that of %s, which has the same subject", earlierAt)
	case s.SubscribeTo != earlier.SubscribeTo && overlap(s.SubscribeTo, earlier.SubscribeTo):
		c.warn(at+".subscribe-to", "overlaps with "+earlierAt+": messages that match both arrive twice")
	}
}

func (c checker) nats() {
	n := c.config.NATS
	subscribed := len(c.config.MetricStore.Subscriptions) > 0
	if n.Embedded != nil {
		if n.Embedded.Listen == "" {
			c.fail("nats.embedded.listen", `missing: the address to listen on, such as "127.0.0.1:4222"`)
		} else {
			c.hostPort("nats.embedded.listen", n.Embedded.Listen)
		}
	}
	c.valueOrReference("nats.password", string(n.Password))
	switch {
	case n.Address != "" && n.Embedded != nil:
		c.fail("nats.embedded", "cannot stand beside nats.address: messages come from one server")
	case n.Address != "" && !validServers(n.Address):
		c.fail("nats.address", "must be the URL of a NATS server, such as nats://localhost:4222, or several with commas between")
	case n.Address == "" && n.Embedded == nil && subscribed:
		c.warn("metric-store.nats-subscriptions", "have no effect without nats.address or nats.embedded")
	case n.Embedded != nil && !subscribed:
		c.warn("nats.embedded", "runs for nothing without metric-store.nats-subscriptions")
	}
	if (n.Username == "") != (n.Password == "") {
		c.warn("nats", "username and password are used only if both are given")
	}
}

// validServers says whether list can be connected to: URLs, or host:port, with commas between, as nats.go takes them.
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
	if strings.ContainsFunc(subject, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return false
	}
	words := strings.Split(subject, ".")
	full := slices.Index(words, ">")
	return !slices.Contains(words, "") && (full < 0 || full == len(words)-1)
}

// overlap says whether some subject matches both: "*" stands for one word, a last ">" for one or more.
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
