package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/scripts/launch"
)

// pace is the time between two honest requests or messages.
const pace = 20 * time.Millisecond

// measure runs an attack against a fresh server.
func measure(ctx context.Context, o options, a attack, dir string) (r result, err error) {
	s, err := start(ctx, o, a, dir)
	if err != nil {
		return r, err
	}
	defer s.Kill()
	r, err = s.measure(ctx, o, a)
	if err != nil {
		err = s.Explain(err)
	}
	return r, err
}

func (s *site) measure(ctx context.Context, o options, a attack) (r result, err error) {
	h := newHonest(s)
	defer h.client.CloseIdleConnections()
	if a.prepare != nil {
		if err := a.prepare(ctx, s); err != nil {
			return r, err
		}
	}
	if err := h.warmUp(ctx, a); err != nil {
		return r, fmt.Errorf("the good load: %w", err)
	}
	before := h.work(ctx, o.length/2+1) // without the attack
	if len(before.failed) > 0 {
		return r, fmt.Errorf("before the attack: %w", before.failed[0])
	}
	memory, err := launch.ResidentMemory(s.PID())
	if err != nil {
		return r, err
	}
	peak := watchMemory(s.PID())
	working, stop := context.WithCancel(ctx)
	var during load
	var all sync.WaitGroup
	all.Go(func() { during = h.work(working, time.Hour) })
	var honest, lost int
	var honestErr error
	all.Go(func() {
		if a.honest != nil {
			honest, lost, honestErr = a.honest(working, s)
		}
	})
	r.sent, err = s.attack(ctx, a.name)
	stop()
	all.Wait()
	r.growth = peak() - memory
	r.write = percentiles{p99(before.writes), p99(during.writes)}
	r.query = percentiles{p99(before.queries), p99(during.queries)}
	r.honest, r.lost = honest, lost
	for _, err := range during.failed {
		if errors.Is(err, errShed) {
			r.shed++
		} else {
			r.failed++
		}
	}
	return r, errors.Join(err, honestErr)
}

// watchMemory samples the resident memory of a process until the returned function is called, which
// returns the peak.
func watchMemory(pid int) (stop func() int64) {
	end, result := make(chan struct{}), make(chan int64)
	go func() {
		var peak int64
		for {
			if now, err := launch.ResidentMemory(pid); err == nil {
				peak = max(peak, now)
			}
			select {
			case <-end:
				result <- peak
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() int64 { close(end); return <-result }
}

// honest is a collector and a backend that mind their own business.
type honest struct {
	site   *site
	client *http.Client
	second int64
}

func newHonest(s *site) *honest {
	return &honest{site: s, client: &http.Client{Transport: &http.Transport{}}, second: s.Second}
}

// load is what the honest requests met.
type load struct {
	writes, queries []time.Duration
	failed          []error
}

// work writes and queries until ctx or d ends.
func (h *honest) work(ctx context.Context, d time.Duration) (l load) {
	for end := time.Now().Add(d); ctx.Err() == nil && time.Now().Before(end); time.Sleep(pace) {
		h.second++
		begin := time.Now()
		if err := h.write(h.site.Tokens["api"], "work", h.second); err != nil {
			l.failed = append(l.failed, err)
		}
		written := time.Now()
		_, err := h.values("work", h.second-60, h.second+1)
		if err != nil {
			l.failed = append(l.failed, err)
		}
		l.writes, l.queries = append(l.writes, written.Sub(begin)), append(l.queries, time.Since(written))
	}
	return l
}

func p99(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)*99/100]
}

// write sends one second of a host.
func (h *honest) write(token, host string, second int64) error {
	var b bytes.Buffer
	appendSecond(&b, host, second)
	_, err := h.post(token, "/api/write/", b.Bytes())
	return err
}

// appendSecond appends one second of a host.
func appendSecond(b *bytes.Buffer, host string, second int64) {
	for i := range 64 {
		fmt.Fprintf(b, "flops,cluster=%s,hostname=%s,type=hwthread,type-id=%d value=%d.5 %d\n", honestCluster, host, i, second%1000, second)
	}
	fmt.Fprintf(b, "load,cluster=%s,hostname=%s value=1 %d\n", honestCluster, host, second)
}

// errShed means that the server was too busy for a request, which a collector sends again.
var errShed = errors.New("answered 503")

// values returns how many seconds of a host's load are stored.
func (h *honest) values(host string, from, to int64) (n int, err error) {
	body := fmt.Sprintf(`{"cluster":%q,"from":%d,"to":%d,"queries":[{"metric":"load","host":%q}]}`, honestCluster, from, to, host)
	text, err := h.post(h.site.Tokens["api"], "/api/query/", []byte(body))
	if err != nil {
		return 0, err
	}
	var answer struct{ Results [][]struct{ Data []*float64 } }
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, err
	}
	for _, result := range answer.Results {
		for _, series := range result {
			for _, v := range series.Data {
				if v != nil {
					n++
				}
			}
		}
	}
	return n, nil
}

func (h *honest) post(token, path string, body []byte) ([]byte, error) {
	r, err := http.NewRequest(http.MethodPost, h.site.url()+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := h.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode == http.StatusServiceUnavailable {
		return text, fmt.Errorf("%s: %w", path, errShed)
	}
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.300s", path, answer.Status, text)
	}
	return text, err
}

// The good load before an attack: so many collectors send so many batches of so many hosts.
const (
	warmCollectors = 4
	warmBatches    = 25
	warmHosts      = 100
)

// warmUp sends a good load at full speed, over HTTP and, if the server has it, NATS. The server's heap
// then has the size that it has in a site's life: what the Go runtime keeps ready at any load is not
// the attacker's.
func (h *honest) warmUp(ctx context.Context, a attack) error {
	var nats *natsgo.Conn
	if a.nats {
		var err error
		if nats, err = natsgo.Connect("nats://" + h.site.NATS); err != nil {
			return err
		}
		defer nats.Close()
	}
	errs := make([]error, warmCollectors)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			for n := 0; n < warmBatches && ctx.Err() == nil && errs[i] == nil; n++ {
				errs[i] = h.warm(nats, i, h.site.Second+int64(n))
			}
		})
	}
	all.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// warm sends one batch of a collector and asks for one of its hosts.
func (h *honest) warm(nats *natsgo.Conn, collector int, second int64) error {
	var b bytes.Buffer
	for host := range warmHosts / warmCollectors {
		appendSecond(&b, fmt.Sprint("warm", collector, "-", host), second)
	}
	if nats != nil {
		m := natsgo.NewMsg(subject)
		m.Header.Set("Authorization", "Bearer "+h.site.Tokens["api"])
		m.Data = b.Bytes()
		return errors.Join(nats.PublishMsg(m), nats.FlushTimeout(settleTime))
	}
	if _, err := h.post(h.site.Tokens["api"], "/api/write/", b.Bytes()); err != nil {
		return err
	}
	_, err := h.values(fmt.Sprint("warm", collector, "-0"), h.site.Second, second+1)
	return err
}

// newTokens sends requests that each have a new token, over new connections, and returns how many
// were not accepted.
func newTokens(ctx context.Context, s *site) (sent, lost int, err error) {
	h := newHonest(s)
	for ; ctx.Err() == nil; time.Sleep(pace) {
		token := s.token(jwt.MapClaims{"sub": fmt.Sprint("new", sent), "roles": []string{"api"}})
		sent++
		if err := h.write(token, "new", s.Second+int64(sent)); err != nil {
			lost++
		}
		h.client.CloseIdleConnections()
	}
	return sent, lost, nil
}

// settleTime is how long messages may take that were sent before the end of an attack.
const settleTime = 10 * time.Second

// messages publishes one sample a message, each of another second, and returns how many are not
// stored.
func messages(subject string) func(ctx context.Context, s *site) (sent, lost int, err error) {
	return func(ctx context.Context, s *site) (sent, lost int, err error) {
		c, err := natsgo.Connect("nats://"+s.NATS, natsgo.MaxReconnects(-1))
		if err != nil {
			return 0, 0, err
		}
		defer c.Close()
		for ; ctx.Err() == nil; time.Sleep(pace) {
			m := natsgo.NewMsg(subject)
			m.Header.Set("Authorization", "Bearer "+s.Tokens["api"])
			m.Data = fmt.Appendf(nil, "load,hostname=nats value=1 %d\n", s.Second+int64(sent))
			if err := errors.Join(c.PublishMsg(m), c.FlushTimeout(settleTime)); err != nil {
				return sent, lost, fmt.Errorf("publishing: %w", err)
			}
			sent++
		}
		h := newHonest(s)
		defer h.client.CloseIdleConnections()
		for end := time.Now().Add(settleTime); ; time.Sleep(pace) {
			stored, err := h.values("nats", s.Second-1, s.Second+int64(sent)+1)
			if err != nil || stored == sent || time.Now().After(end) {
				return sent, sent - stored, err
			}
		}
	}
}

// otherHosts is how many hosts of another cluster must keep their samples. A third of them is there
// before the attack, a third comes during it, and the last after it.
const otherHosts = 60

// fillOther stores samples of the honest cluster.
func fillOther(_ context.Context, s *site) error {
	h := newHonest(s)
	defer h.client.CloseIdleConnections()
	for second := range int64(20) {
		for host := range otherHosts / 3 {
			if err := h.write(s.Tokens["api"], fmt.Sprint("kept", host), s.Second+second); err != nil {
				return err
			}
		}
	}
	return nil
}

// otherSamples goes on writing samples of the honest cluster, also of new hosts, and returns how
// many are not stored in the end.
func otherSamples(ctx context.Context, s *site) (sent, lost int, err error) {
	h := newHonest(s)
	defer h.client.CloseIdleConnections()
	sent = otherHosts / 3 * 20
	second := int64(20)
	round := func(hosts int) {
		for host := range hosts {
			sent++
			_ = h.write(s.Tokens["api"], fmt.Sprint("kept", host), s.Second+second) // counted below
		}
		second++
	}
	for ; ctx.Err() == nil; time.Sleep(10 * pace) {
		round(otherHosts * 2 / 3)
	}
	round(otherHosts)
	stored := 0
	for host := range otherHosts {
		n, err := h.values(fmt.Sprint("kept", host), s.Second-1, s.Second+second+1)
		if err != nil && !errors.Is(err, errShed) {
			return sent, 0, err
		}
		stored += n
	}
	return sent, sent - stored, nil
}
