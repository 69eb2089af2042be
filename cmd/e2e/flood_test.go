package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
)

// flood is a number of requests per second over many connections. A process with the lowest
// priority sends it, so that it takes no CPU time from the server, as if it came from other
// machines. On a busy machine it is slower than Rate.
type flood struct {
	Addr, Path string
	Tokens     []string // in turn; an empty one is none
	Rate       int
}

// flooded is the result of a flood: the number of answers by status.
type flooded struct {
	Answers map[int]int
	Took    time.Duration
	Failed  string
}

func (f flooded) rate() float64 {
	sent := 0
	for _, n := range f.Answers {
		sent += n
	}
	return float64(sent) / f.Took.Seconds()
}

// tokensOfAFlood returns bad tokens. A fifth of them are well-formed forgeries.
func tokensOfAFlood(c *centre) (tokens []string) {
	when := time.Now()
	user := authtest.KeycloakUser(when, realm, "jupyter", "alice", "hpc-admin")
	good := c.keycloak.Token(user)
	bad := []string{
		"garbage", good[:len(good)/2], c.keycloak.Token(with(user, map[string]any{"exp": 1})), c.keycloak.Named("x").Token(user),
	}
	for i := range 64 {
		forged := mallory().Named("kc-1").Token(authtest.KeycloakUser(when, realm, "jupyter", fmt.Sprint("m", i), "hpc-admin"))
		tokens = append(append(tokens, forged), bad...)
	}
	return tokens
}

// asFlood in the environment makes the test binary send the flood that it reads from stdin, until
// stdin ends.
const asFlood = "RINGSTORE_TEST_FLOOD"

// during sends a flood while do runs, and returns the result.
func (f flood) during(t *testing.T, do func()) (got flooded) {
	t.Helper()
	args := []string{os.Args[0]}
	if idle, err := exec.LookPath("chrt"); err == nil {
		args = []string{idle, "--idle", "0", os.Args[0]}
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), asFlood+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(in).Encode(f); err != nil {
		t.Error(err)
	}
	answers := json.NewDecoder(out)
	if err := answers.Decode(&got); err != nil { // the flood has begun
		t.Error(err)
	}
	do()
	in.Close()
	if err := errors.Join(answers.Decode(&got), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	if got.Failed != "" {
		t.Error(got.Failed)
	}
	return got
}

// floodMain sends the flood that it reads from stdin.
func floodMain(stdin io.Reader, stdout io.Writer) error {
	var f flood
	in := json.NewDecoder(stdin)
	if err := in.Decode(&f); err != nil {
		return err
	}
	const connections = 8
	begin := time.Now()
	var ended atomic.Bool
	var answers [connections]map[int]int
	var failed [connections]error
	var all sync.WaitGroup
	for n := range connections {
		all.Go(func() { answers[n], failed[n] = f.connection(n, connections, begin, &ended) })
	}
	if err := json.NewEncoder(stdout).Encode(flooded{}); err != nil {
		return err
	}
	_ = in.Decode(new(any)) // waits for the end
	ended.Store(true)
	all.Wait()
	got := flooded{Answers: map[int]int{}, Took: time.Since(begin)}
	for _, a := range answers {
		for status, n := range a {
			got.Answers[status] += n
		}
	}
	if err := errors.Join(failed[:]...); err != nil {
		got.Failed = err.Error()
	}
	return json.NewEncoder(stdout).Encode(got)
}

// connection sends the requests of one connection, evenly spaced between those of the others, each
// after the previous answer. It counts answers by status.
func (f flood) connection(n, of int, begin time.Time, ended *atomic.Bool) (map[int]int, error) {
	conn, err := net.Dial("tcp", f.Addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	in, answers := bufio.NewReader(conn), map[int]int{}
	for i := 0; !ended.Load(); i++ {
		time.Sleep(time.Until(begin.Add(time.Duration(i*of+n) * time.Second / time.Duration(f.Rate))))
		token := f.Tokens[(n*len(f.Tokens)/of+i)%len(f.Tokens)]
		if token != "" {
			token = "Authorization: Bearer " + token + "\r\n"
		}
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: 2\r\n\r\n{}", f.Path, f.Addr, token); err != nil {
			return answers, err
		}
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			return answers, err
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			return answers, err
		}
		answers[answer.StatusCode]++
	}
	return answers, nil
}

// TestFlood: under a flood of bad tokens, no bad token is accepted, every cached good token is, and
// memory does not grow. The rate of the flood and the latency of good requests are logged.
func TestFlood(t *testing.T) {
	c := newCentre(t)
	p := process(t, c.settings)
	good := c.keycloak.Token(authtest.KeycloakUser(time.Now(), realm, "jupyter", "root", "hpc-admin"))
	heap := func() float64 {
		got := p.send(t, good, "GET", "/metrics", "").body
		for _, m := range sampleLine.FindAllStringSubmatch(got, -1) {
			if m[1] == "go_memstats_alloc_bytes" {
				var v float64
				fmt.Sscan(m[2], &v)
				return v
			}
		}
		t.Fatal("no go_memstats_alloc_bytes")
		return 0
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	measure := func(d time.Duration) (p99 time.Duration) {
		t.Helper()
		var took []time.Duration
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
			r, err := http.NewRequestWithContext(t.Context(), "GET", p.url+"/api/query", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+good)
			begin := time.Now()
			got, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, got.Body)
			took = append(took, time.Since(begin))
			if got.Body.Close(); err != nil || got.StatusCode != http.StatusOK {
				t.Errorf("a good token: %d %v", got.StatusCode, err)
			}
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	measure(200 * time.Millisecond)
	calm, before := measure(2*time.Second), heap()
	var probed, storm time.Duration
	addr := strings.TrimPrefix(p.url, "http://")
	probes := flood{Addr: addr, Path: "/-/healthy", Tokens: make([]string, 8), Rate: 10_000}.during(t, func() { probed = measure(2 * time.Second) })
	bad := flood{Addr: addr, Path: "/api/query", Tokens: tokensOfAFlood(c), Rate: 10_000}.during(t, func() { storm = measure(2 * time.Second) })
	after := heap()
	t.Logf("%.0f bad tokens a second, answers %v; p99 of a good request %v, with %.0f requests a second without tokens %v, alone %v; heap %.1f MB, before %.1f MB",
		bad.rate(), bad.Answers, storm, probes.rate(), probed, calm, after/1e6, before/1e6)
	if bad.Answers[http.StatusUnauthorized] == 0 {
		t.Error("no token was refused")
	}
	for status, n := range bad.Answers {
		if status != http.StatusUnauthorized && status != http.StatusServiceUnavailable {
			t.Errorf("%d bad tokens got a %d", n, status)
		}
	}
	if after > before+64<<20 {
		t.Errorf("the heap grew from %.0f to %.0f bytes", before, after)
	}
	if lines := strings.Count(p.stderr.String(), "\n"); lines > 5_000 {
		t.Errorf("%d lines of log", lines)
	}
}
