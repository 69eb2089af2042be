package e2e

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// badToken is a token that must be refused, with the reason.
type badToken struct{ name, token, reason string }

const eddsa = `{"alg":"EdDSA","typ":"JWT"}`

// badTokens are for a program that accepts tokens of ownKey.
func badTokens() []badToken {
	good := signed(eddsa, apiClaims(nil))
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	public := ownPublicKey()
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	with := func(name string, value any) string { return signed(eddsa, apiClaims(map[string]any{name: value})) }
	return []badToken{
		{"none", "", "missing"},
		{"garbage", "garbage-that-is-no-token", "malformed"},
		{"garbage in three parts", "garbage.in.parts", "malformed"},
		{"a wrong key", authtest.NewIssuer("another").Token(claims(nil, "api")), "bad_signature"},
		{"no signature", head + "." + payload + ".", "bad_signature"},
		{"truncated", good[:len(good)-10], "bad_signature"},
		{"truncated before the signature", head + "." + payload, "malformed"},
		{"other claims, same signature", segments(eddsa, apiClaims(map[string]any{"sub": "root"})) + "." + signature, "bad_signature"},
		{"the empty signature of alg none", segments(`{"alg":"none"}`, apiClaims(nil)) + ".", "bad_algorithm"},
		{"alg none with a good signature", signed(`{"alg":"none"}`, apiClaims(nil)), "bad_algorithm"},
		{"alg in another case", signed(`{"alg":"eddsa"}`, apiClaims(nil)), "bad_algorithm"},
		{"alg in capitals", signed(`{"alg":"EDDSA"}`, apiClaims(nil)), "bad_algorithm"},
		{"no alg", signed(`{"typ":"JWT"}`, apiClaims(nil)), "bad_algorithm"},
		{"HS256 with the public key", hs256(public), "bad_algorithm"},
		{"HS256 with the public key as text", hs256([]byte(base64.StdEncoding.EncodeToString(public))), "bad_algorithm"},
		{"a critical extension", signed(`{"alg":"EdDSA","crit":["x"],"x":1}`, apiClaims(nil)), "unsupported_crit"},
		{"expired", with("exp", in(-2*time.Minute)), "expired"},
		{"expired in 1970", with("exp", 0), "expired"},
		{"not yet valid", with("nbf", in(2*time.Minute)), "not_yet_valid"},
		{"issued in the future", with("iat", in(2*time.Minute)), "issued_in_future"},
		{"exp as text", with("exp", "tomorrow"), "bad_claims"},
		{"roles as a string", with("roles", "api"), "bad_claims"},
		{"roles with a number", with("roles", []any{"api", 1}), "bad_claims"},
		{"an empty sub", with("sub", ""), "bad_claims"},
		{"no sub, as in cc-metric-store's demo token", with("sub", nil), "bad_claims"},
		{"sub as a number", with("sub", 7), "bad_claims"},
		{"a claim twice", signed(eddsa, `{"sub":"a","sub":"b","roles":["api"]}`), "malformed"},
		{"claims that are a list", signed(eddsa, `[]`), "malformed"},
		{"20 kB", with("padding", strings.Repeat("x", 15_000)), "too_large"},
		{"white space inside", head + " ." + payload + "." + signature, "malformed"},
	}
}

// TestBadTokens: each bad token is refused over HTTP and NATS, stores nothing, is counted with its
// reason, leaves one audit line, and appears in no output.
func TestBadTokens(t *testing.T) {
	s := newSettings(t)
	s["main"]["jwt-public-key"] = base64.StdEncoding.EncodeToString(ownPublicKey())
	log := filepath.Join(t.TempDir(), "audit.log")
	s["auth"] = map[string]any{"audit-log": log}
	p := serve(t, s, "-loglevel", "debug")
	audited := func() int { return strings.Count(cmdtest.ReadFile(t, log), "\n") }
	admin := signed(eddsa, string(mustJSON(claims(nil, "admin"))))
	c := connect(t, p.nats)

	var answers strings.Builder
	perReason := make(map[string]float64)
	for i, bad := range badTokens() {
		perReason[bad.reason]++
		lines := audited()
		got := p.send(t, bad.token, "POST", "/api/write/?cluster=alpha", fmt.Sprintf("cpu_load,hostname=http%d value=1", i))
		answers.WriteString(got.body + fmt.Sprint(got.header))
		if got.status != http.StatusUnauthorized || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: %d, WWW-Authenticate %q", bad.name, got.status, got.header.Get("WWW-Authenticate"))
		}
		got.failure(t)
		if n := audited(); n != lines+1 {
			t.Errorf("%s: %d audit lines", bad.name, n-lines)
		}
		publish(t, c, message(bad.token, fmt.Sprintf("cpu_load,hostname=nats%d value=1", i)))
		cmdtest.Eventually(t, "the audit of the message with "+bad.name, func() bool { return audited() > lines+1 })
	}
	counted := p.send(t, admin, "GET", "/metrics", "").body
	for reason, n := range perReason {
		for _, series := range []string{
			fmt.Sprintf(`ringstore_auth_refusals_total{reason=%q,transport="http"} %v`, reason, n),
			fmt.Sprintf(`ringstore_nats_refused_total{reason=%q,subject=%q} %v`, reason, subject, n),
		} {
			if !strings.Contains(counted, series+"\n") {
				t.Errorf("not in /metrics: %s", series)
			}
		}
	}
	if got := p.send(t, admin, "GET", "/api/debug/", ""); got.body != `{"data":{}}`+"\n" {
		t.Errorf("stored: %s", got.body)
	}
	p.stopWell(t)

	total := 2 * len(badTokens())
	refusals := slices.DeleteFunc(strings.SplitAfter(cmdtest.ReadFile(t, log), "\n"), func(line string) bool { // the debug above is audited too
		return strings.Contains(line, `"action":"debug"`)
	})
	checkAudit(t, strings.Join(refusals, ""), float64(total))
	if n := strings.Count(strings.Join(refusals, ""), "\n"); n != total {
		t.Errorf("%d audit lines for %d refusals", n, total)
	}
	secrets := []string{admin}
	for _, bad := range badTokens() {
		secrets = append(secrets, bad.token)
	}
	for name, text := range map[string]string{
		"stderr": p.stderr.String(), "stdout": p.stdout.String(), "audit log": cmdtest.ReadFile(t, log),
		"answers": answers.String(), "/metrics": counted,
	} {
		checkNoToken(t, name, text, secrets...)
	}
}

// checkNoToken fails if text contains a token or a part of one.
func checkNoToken(t *testing.T, name, text string, tokens ...string) {
	t.Helper()
	for _, token := range tokens {
		parts := append(strings.Split(token, "."), token)
		for _, part := range parts {
			if len(part) > 12 && strings.Contains(text, part) {
				t.Errorf("%s holds %.60s", name, part)
			}
		}
	}
}

// checkAudit checks the audit lines in an output: each has exactly its fields, and together they
// account for all refusals.
func checkAudit(t *testing.T, output string, refusals float64) {
	t.Helper()
	var sum float64
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var e struct {
			Time                             time.Time
			Transport, Peer, Issuer, Subject *string
			ID                               string
			Roles                            []string
			Action, Code                     *string
			Suppressed                       float64
		}
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil || e.Time.IsZero() || e.Transport == nil || e.Peer == nil || e.Issuer == nil ||
			e.Subject == nil || e.Roles == nil || e.Action == nil || e.Code == nil {
			t.Errorf("audit line: %v: %s", err, line)
			continue
		}
		if e.Suppressed > 0 {
			sum += e.Suppressed
			continue
		}
		sum++
		peer := map[string]string{"http": "127.0.0.1", "nats": subject}[*e.Transport]
		if *e.Peer != peer || *e.Action == "" || *e.Code == "" || (e.ID != "") != (*e.Transport == "http") {
			t.Errorf("audit line: %s", line)
		}
	}
	if sum != refusals {
		t.Errorf("the audit accounts for %v refusals of %v", sum, refusals)
	}
}

func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// TestBadTokensOnEveryPath: without a good token, only the paths for probes answer. Every other
// path gives 401, even an unknown one or one with the wrong method.
func TestBadTokensOnEveryPath(t *testing.T) {
	p := serve(t, newSettings(t))
	for _, e := range endpoints() {
		want := http.StatusUnauthorized
		if e.action == "open" {
			want = http.StatusOK
		}
		if e.path == "/ping" {
			want = http.StatusNoContent
		}
		for _, bad := range []string{"", "garbage"} {
			if got := p.send(t, bad, e.method, e.path, e.body); got.status != want {
				t.Errorf("%s %s: %d, want %d", e.method, e.path, got.status, want)
			}
		}
	}
	for _, path := range []string{"/x", "/api", "/api/", "/api//query", "/api/query/x", "/API/query", "/metrics/x", "//metrics", "/-/", "/api/../metrics"} {
		if got := p.send(t, "", "GET", path, ""); got.status != http.StatusNotFound && got.status != http.StatusUnauthorized {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}

// TestWaysToCarryAToken: a token may come in Authorization, with the scheme in any case, or in
// X-Auth-Token as with cc-backend, and nowhere else.
func TestWaysToCarryAToken(t *testing.T) {
	p := serve(t, newSettings(t), "-loglevel", "debug")
	good, other := token("api"), token("admin")
	f := func(status int, reason string, headers ...string) {
		t.Helper()
		before := p.metric(t, "ringstore_auth_refusals_total", `reason="`+reason+`"`)
		got := p.send(t, "", "POST", "/api/write/?cluster=alpha", "cpu_load,hostname=n1 value=1", headers...)
		if got.status != status {
			t.Errorf("%d, want %d, for %.80s", got.status, status, headers)
		}
		if reason != "" && p.metric(t, "ringstore_auth_refusals_total", `reason="`+reason+`"`) != before+1 {
			t.Errorf("not counted as %s: %.80s", reason, headers)
		}
	}
	f(401, "missing")
	f(401, "missing", "Authorization", "Bearer")
	f(401, "missing", "X-Auth-Token", "")
	f(401, "unsupported_scheme", "Authorization", good)
	f(401, "unsupported_scheme", "Authorization", "Basic dXNlcjpwYXNzd29yZA==")
	f(401, "unsupported_scheme", "Authorization", "Token "+good)
	f(401, "unsupported_scheme", "Authorization", "Basic dXNlcjpwYXNzd29yZA==", "X-Auth-Token", good)
	f(401, "conflicting_tokens", "Authorization", "Bearer "+good, "X-Auth-Token", other)
	f(401, "conflicting_tokens", "Authorization", "Bearer "+good, "Authorization", "Bearer "+other)
	f(401, "missing", "Cookie", "Authorization="+good)
	f(200, "", "Authorization", "Bearer "+good)
	f(200, "", "Authorization", "bearer "+good)
	f(200, "", "Authorization", "BEARER  "+good)
	f(200, "", "X-Auth-Token", good)
	f(200, "", "Authorization", "Bearer "+good, "X-Auth-Token", good)
	if got := p.send(t, "", "GET", "/api/query?token="+good+"&access_token="+good, "{}"); got.status != 401 {
		t.Errorf("a token in the URL: %d", got.status)
	}
	if got := p.send(t, "", "GET", "/nowhere/"+good, ""); got.status != 404 || strings.Contains(got.body, good) {
		t.Errorf("a token in the path: %d %s", got.status, got.body)
	}
	if got := p.send(t, strings.Repeat("x", 300<<10), "GET", "/metrics", ""); got.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("300 kB of header: %d", got.status)
	}
	p.stopWell(t)
	checkNoToken(t, "stderr", p.stderr.String(), good, other, "dXNlcjpwYXNzd29yZA==")
}

// TestWaysToCarryATokenOverNATS is the same for the headers of a message.
func TestWaysToCarryATokenOverNATS(t *testing.T) {
	p := serve(t, newSettings(t))
	c := connect(t, p.nats)
	good, other := token("api"), token("admin")
	var want []string
	f := func(stored bool, host string, header natsgo.Header) {
		t.Helper()
		m := natsgo.NewMsg(subject)
		m.Header, m.Data = header, []byte("cpu_load,hostname="+host+" value=1")
		publish(t, c, m)
		if stored {
			want = append(want, host)
		}
	}
	f(false, "nothing", nil)
	f(false, "bare", natsgo.Header{"Authorization": {good}})
	f(false, "basic", natsgo.Header{"Authorization": {"Basic " + good}})
	f(false, "two", natsgo.Header{"Authorization": {"Bearer " + good, "Bearer " + other}})
	f(false, "elsewhere", natsgo.Header{"X-Auth-Token": {good}})
	f(false, "spellings", natsgo.Header{"Authorization": {"Bearer " + good}, "authorization": {"Bearer garbage"}})
	f(true, "good", natsgo.Header{"Authorization": {"Bearer " + good}})
	f(true, "lower", natsgo.Header{"authorization": {"bearer " + good}})
	f(true, "twice", natsgo.Header{"Authorization": {"Bearer " + good, "Bearer " + good}})
	cmdtest.Eventually(t, "all messages", func() bool {
		return p.metric(t, "ringstore_ingest_samples_total")+p.metric(t, "ringstore_nats_refused_total") == 9
	})
	got := p.send(t, token("admin"), "GET", "/api/debug/?selector=alpha", "").body
	hosts := slices.Sorted(slices.Values(want))
	pattern := `^\{"data":\{"` + strings.Join(hosts, `":\{[^}]*\}[^}]*\},"`) + `":\{[^}]*\}[^}]*\}\}\}\n$`
	if !regexp.MustCompile(pattern).MatchString(got) {
		t.Errorf("stored: %s, want %v", got, hosts)
	}
}

// TestTokensWithoutExpiry: they are accepted with one warning per subject, or refused if the
// configuration says so.
func TestTokensWithoutExpiry(t *testing.T) {
	endless := func(subject string) string {
		return issuer.Token(claims(map[string]any{"exp": nil, "sub": subject}, "api"))
	}
	write := func(p *program, token string) int {
		return p.send(t, token, "POST", "/api/write/?cluster=alpha", "cpu_load,hostname=n1 value=1").status
	}
	p := serve(t, newSettings(t))
	for _, subject := range []string{"one", "two", "one"} {
		if status := write(p, endless(subject)); status != 200 {
			t.Errorf("%d", status)
		}
	}
	for subject, n := range map[string]int{"one": 1, "two": 1} {
		if got := strings.Count(p.stderr.String(), "never expires\" issuer=jwt-public-key subject="+subject+"\n"); got != n {
			t.Errorf("subject %s: %d warnings in\n%s", subject, got, p.stderr.String())
		}
	}
	s := newSettings(t)
	s["auth"] = map[string]any{"require-expiry": true}
	strict := serve(t, s)
	if status := write(strict, endless("one")); status != 401 {
		t.Errorf("with require-expiry: %d", status)
	}
	if status := write(strict, token("api")); status != 200 {
		t.Errorf("with require-expiry, a token that has one: %d", status)
	}
	if n := strict.metric(t, "ringstore_auth_refusals_total", `reason="no_expiry"`); n != 1 {
		t.Errorf("counted: %v", n)
	}
}

// TestAcceptedTokensExpireInTheCacheToo: a cached token is refused after its expiry and the leeway
// of 30 s.
func TestAcceptedTokensExpireInTheCacheToo(t *testing.T) {
	p := serve(t, newSettings(t))
	t.Parallel() // with what else only waits
	// A few seconds of the leeway are left, and the test itself takes some of them.
	last := issuer.Token(claims(map[string]any{"exp": time.Now().Unix() - 26}, "api"))
	status := func() int { return p.send(t, last, "POST", "/api/query", "{}").status }
	if got := status(); got != 200 {
		t.Fatalf("within the leeway: %d", got)
	}
	cmdtest.Eventually(t, "the end of the token", func() bool { return status() == 401 })
}

// TestSmallOrderKeysVerifyNothing: the program does not start with such a key, as anyone could
// forge signatures for it.
func TestSmallOrderKeysVerifyNothing(t *testing.T) {
	for why, key := range map[string]ed25519.PublicKey{
		"all zeros":              make([]byte, 32),
		"a point of small order": append([]byte{1}, make([]byte, 31)...),
	} {
		s := newSettings(t)
		s["main"]["jwt-public-key"] = base64.StdEncoding.EncodeToString(key)
		file := s.file(t)
		for _, args := range [][]string{{"-config", file}, {"check-config", "-config", file}} {
			got := runCommand(t, nil, args...)
			if got.code != exitBadUsage || !strings.HasPrefix(got.stderr, file+": main.jwt-public-key: ") || !strings.HasSuffix(got.stderr, why+"\n") {
				t.Errorf("%q, %s: exit code %d: %s", args, why, got.code, got.stderr)
			}
		}
	}
}
