package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// natsAt sets the NATS section and the subscriptions.
func (s settings) natsAt(nats map[string]any, subscriptions ...any) settings {
	s["nats"] = nats
	s["metric-store"]["nats-subscriptions"] = subscriptions
	return s
}

// sink connects as cc-metric-collector does, with a token as its password.
func sink(t testing.TB, url, token string) *natsgo.Conn {
	t.Helper()
	c, err := natsgo.Connect(url, natsgo.UserInfo("collector", token), natsgo.MaxReconnects(-1), natsgo.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestACollectorOutlivesARestart: by default the embedded server requires a token as the password,
// and a collector reconnects after a restart.
func TestACollectorOutlivesARestart(t *testing.T) {
	s := newSettings(t).natsAt(map[string]any{"embedded": map[string]any{"listen": "127.0.0.1:0"}},
		map[string]any{"subscribe-to": subject, "cluster-tag": "alpha"})
	p := process(t, s)
	if _, err := natsgo.Connect(p.nats, natsgo.UserInfo("collector", token("user"))); err == nil {
		t.Error("a user may connect")
	}
	url := p.nats
	c := sink(t, url, token("api"))
	second := time.Now().Unix() - 100
	send := func(value int64) {
		t.Helper()
		if err := c.Publish(subject, fmt.Appendf(nil, "fast,hostname=n1 value=%d %d", value, second+value)); err != nil {
			t.Fatal(err)
		}
	}
	has := func(p *program, n int64) {
		t.Helper()
		cmdtest.Eventually(t, fmt.Sprint("sample ", n), func() bool { return len(p.samples(t, "n1", "fast", second, second+50)) == int(n) })
	}
	send(1)
	has(p, 1)
	p.stopWell(t)
	send(2)
	s["nats"]["embedded"] = map[string]any{"listen": strings.TrimPrefix(url, "nats://")}
	p = process(t, s)
	has(p, 2)
	send(3)
	has(p, 3)
}

// killLoops is how often TestAStreamOutlivesKills kills the program by default.
const killLoops = 3

// TestAStreamOutlivesKills: every message that a stream has acknowledged is stored exactly once,
// however often the program is killed.
func TestAStreamOutlivesKills(t *testing.T) {
	broker, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	broker.Start()
	t.Cleanup(func() { broker.Shutdown(); broker.WaitForShutdown() })
	if !broker.ReadyForConnections(cmdtest.Patience) {
		t.Fatal("the NATS server does not start")
	}
	js, err := jetstream.New(connect(t, broker.ClientURL()))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "METRICS", Subjects: []string{subject}})
	if err != nil {
		t.Fatal(err)
	}
	// The program's own consumer would wait half a minute before it redelivers the killed one's
	// messages.
	consumer, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{
		Durable: "ringstore", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := newSettings(t).natsAt(map[string]any{"address": broker.ClientURL()},
		map[string]any{"subscribe-to": subject, "cluster-tag": "alpha", "authorization": "header", "stream": "METRICS", "durable": "ringstore"})

	l := &load{name: "stream", base: time.Now().Unix() - 7200}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for bearer := token("api"); ctx.Err() == nil; {
			if _, err := js.PublishMsg(ctx, message(bearer, l.batch(l.acked.Load()))); err == nil {
				l.acked.Add(1)
			}
			time.Sleep(time.Millisecond)
		}
	})
	loops := killLoops
	_, _ = fmt.Sscan(os.Getenv("RINGSTORE_TEST_KILLS"), &loops)
	for i := range loops {
		p := process(t, s)
		// Sometimes during the backlog, sometimes during the steady flow.
		cmdtest.Eventually(t, "samples", func() bool {
			return p.metric(t, "ringstore_ingest_samples_total", `transport="nats"`) > float64(i%3*20*loadLines)
		})
		p.signal(t, os.Kill)
		if code := p.wait(t); code != -1 {
			t.Fatalf("exit code %d", code)
		}
	}
	stop()
	publishing.Wait()
	p := process(t, s)
	cmdtest.Eventually(t, "an empty stream", func() bool {
		info, err := consumer.Info(context.WithoutCancel(t.Context()))
		return err == nil && info.NumPending == 0 && info.NumAckPending == 0
	})
	acked := l.acked.Load()
	if got, want := l.stored(t, p, acked), int(acked)*loadLines; got != want || acked < 50 {
		t.Errorf("%d samples of %d acknowledged ones", got, want)
	}
	t.Logf("%d messages acknowledged, %d samples stored", acked, acked*loadLines)
}
