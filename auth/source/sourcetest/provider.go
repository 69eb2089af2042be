// Package sourcetest runs a real OpenID Connect provider, npm's oidc-provider, on loopback for
// tests. It needs Node.js and the packages that "npm ci --prefix auth/source/testdata/provider"
// installs; without them, tests are skipped.
package sourcetest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Audience is the "aud" of the provider's access tokens; Client is their "sub" and "client_id".
const (
	Audience = "metric-store"
	Client   = "ringstore"
)

// Algorithms lists the algorithms that the provider signs with.
func Algorithms() []string { return []string{"RS256", "ES256", "EdDSA"} }

// Provider is an OpenID Connect provider that a test starts, stops and restarts. Only
// [Provider.Token] is safe for concurrent use.
type Provider struct {
	// Issuer is its URL, which stays the same across restarts.
	Issuer string

	t       testing.TB
	claims  map[string]any
	port    int
	keys    map[int][]json.RawMessage // private JWKs, one for each algorithm, by generation
	client  *http.Client
	process *process // nil while it is stopped
}

// process is the running provider.
type process struct {
	command *exec.Cmd
	stdin   io.Closer
	stderr  *bytes.Buffer // read only after the end
}

// order is the script's input, ready its output.
type order struct {
	Port     int               `json:"port"`
	Keys     []json.RawMessage `json:"keys"` // private JWKs, or alg and kid of keys to generate
	Audience string            `json:"audience"`
	Claims   map[string]any    `json:"claims"`
}

type ready struct {
	Issuer string            `json:"issuer"`
	Port   int               `json:"port"`
	Keys   []json.RawMessage `json:"keys"`
}

// Start runs a provider with the keys of generation 1 until the test ends. Its access tokens also
// contain claims, which may be nil.
func Start(t testing.TB, claims map[string]any) *Provider {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("the OpenID Connect provider needs Node.js")
	}
	if _, err := os.Stat(filepath.Join(script(), "..", "node_modules", "oidc-provider")); err != nil {
		t.Skip("the OpenID Connect provider is not installed: npm ci --prefix auth/source/testdata/provider")
	}
	p := &Provider{
		t: t, claims: claims, keys: map[int][]json.RawMessage{},
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second},
	}
	t.Cleanup(p.Stop)
	p.Restart(1)
	return p
}

// script returns the path of the provider's script.
func script() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "testdata", "provider", "provider.js")
}

// KeyID returns the "kid" of a generation's key.
func KeyID(alg string, generation int) string { return fmt.Sprintf("%s-%d", alg, generation) }

// Restart starts the provider, after stopping a running one, with the keys of these generations:
// the first one signs, all are published. New generations are generated.
func (p *Provider) Restart(generations ...int) {
	p.t.Helper()
	p.Stop()
	o := order{Port: p.port, Audience: Audience, Claims: p.claims}
	for _, g := range generations {
		o.Keys = append(o.Keys, p.generation(g)...)
	}
	answer := p.run(o)
	for i, g := range generations {
		n := len(Algorithms())
		p.keys[g] = answer.Keys[i*n : (i+1)*n]
	}
	p.Issuer, p.port = answer.Issuer, answer.Port
}

// generation returns the generation's keys, or alg and kid of keys to generate.
func (p *Provider) generation(g int) []json.RawMessage {
	if keys := p.keys[g]; keys != nil {
		return keys
	}
	var keys []json.RawMessage
	for _, alg := range Algorithms() {
		keys = append(keys, fmt.Appendf(nil, `{"alg": %q, "kid": %q}`, alg, KeyID(alg, g)))
	}
	return keys
}

// run starts the script and waits until it listens.
func (p *Provider) run(o order) (answer ready) {
	p.t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		p.t.Fatal(err)
	}
	command := exec.Command("node", script())
	running := &process{command: command, stderr: new(bytes.Buffer)}
	command.Stderr = running.stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	running.stdin = stdin
	stdout, err := command.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.process = running
	if _, err = stdin.Write(append(text, '\n')); err == nil {
		err = json.NewDecoder(bufio.NewReader(stdout)).Decode(&answer)
	}
	if err != nil {
		p.Stop()
		p.t.Fatalf("the provider does not start: %v\n%s", err, running.stderr)
	}
	return answer
}

// Stop ends the provider, if it runs.
func (p *Provider) Stop() {
	if p.process == nil {
		return
	}
	kill := time.AfterFunc(10*time.Second, func() { _ = p.process.command.Process.Kill() })
	defer kill.Stop()
	_ = p.process.stdin.Close() // which ends it
	_ = p.process.command.Wait()
	p.process = nil
}

// Token returns a new access token for client credentials, signed with one of [Algorithms].
func (p *Provider) Token(ctx context.Context, alg string) (string, error) {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {Client}, "client_secret": {Client},
		"resource": {"https://metric-store.example.org/" + alg},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := p.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return "", err
	}
	if answer.AccessToken == "" {
		return "", fmt.Errorf("no token: status %d, %s, %s", response.StatusCode, answer.Error, answer.Description)
	}
	return answer.AccessToken, nil
}
