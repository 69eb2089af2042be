package nats

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/memstore"
)

func lineAt(host string, value int, at time.Time) string {
	return fmt.Sprintf("load,hostname=%s,type=node value=%d %d\n", host, value, at.Unix())
}

func (h *harness) valueAt(host string, at time.Time) float64 {
	h.t.Helper()
	got, err := h.store.Read(h.t.Context(), memstore.Selection{Cluster: "alpha", Host: host, Metric: "load"}, memstore.Range{From: at.Unix(), To: at.Unix() + 1, Pad: memstore.PadBoth})
	if err != nil || len(got.Values) == 0 {
		return -1
	}
	return got.Values[0]
}

// A message that could not be stored at first does not overwrite what a later one wrote.
func TestRedeliveryDoesNotOverwriteALaterMessage(t *testing.T) {
	t.Parallel()
	h := newHarness(t).streaming()
	url := streamServer(t).ClientURL()
	h.gate.fail(fmt.Errorf("no space left on device"))
	s := h.subscribe(url)
	c := connect(t, url)
	eventually(t, "the consumer is there", func() bool { return consumerInfo(t, c) != nil })
	at := time.Now().Add(-time.Minute)
	send := func(body string) { queue(t, c, message(body, "Authorization", "Bearer "+token("api"))) }
	send(lineAt("n1", 1, at) + lineAt("n2", 1, at))
	eventually(t, "the first is put off", func() bool { return h.sum("ringstore_nats_stream_messages_total", subject, "nak") == 1 })
	h.gate.fail(nil)
	send(lineAt("n1", 2, at))
	waitForAcks(t, c)
	if n1, n2 := h.valueAt("n1", at), h.valueAt("n2", at); n1 != 2 || n2 != 1 {
		t.Errorf("n1 holds %v and n2 %v, want 2 and 1", n1, n2)
	}
	h.close(s)
	if got := h.sum("ringstore_nats_redelivered_total", subject); got == 0 {
		t.Error("nothing was redelivered")
	}
}

// Samples that lie in the future by our clock are stored when it has caught up.
func TestEarlyMessagesAreRetried(t *testing.T) {
	t.Parallel()
	h := newHarness(t).streaming()
	url := streamServer(t).ClientURL()
	h.subscribe(url)
	c := connect(t, url)
	eventually(t, "the consumer is there", func() bool { return consumerInfo(t, c) != nil })
	at := time.Now().Add(64 * time.Second) // 62 s are accepted
	queue(t, c, message(lineAt("n1", 1, at), "Authorization", "Bearer "+token("api")))
	eventually(t, "it is stored", func() bool { return h.valueAt("n1", at) == 1 })
	waitForAcks(t, c)
}

// floodedAuthenticator cannot verify tokens that begin with "flood".
type floodedAuthenticator struct{ Authenticator }

func (a floodedAuthenticator) AuthenticateAt(ctx context.Context, token string, at time.Time) (*auth.Principal, error) {
	if strings.HasPrefix(token, "flood") {
		return nil, &auth.Overloaded{Code: auth.NoKeys}
	}
	return a.Authenticator.AuthenticateAt(ctx, token, at)
}

// More unverifiable messages than a consumer may have pending do not hold up the others.
func TestUnverifiableMessagesOfGuestsDoNotBlockAStream(t *testing.T) {
	t.Parallel()
	h := newHarness(t).streaming()
	h.options.Subjects[0].Guests = true
	h.options.Authenticator = floodedAuthenticator{h.options.Authenticator}
	url := streamServer(t).ClientURL()
	c := connect(t, url)
	makeStream(t, c, nil)
	js := newJetStream(t, c)
	const flood = maxAckPending + 200
	for n := range flood {
		if _, err := js.PublishMsgAsync(message(line("n"), "Authorization", fmt.Sprint("Bearer flood", n))); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	queue(t, c, bearer("good"))
	h.subscribe(url)
	eventually(t, "the good one is stored", func() bool { return h.stored("good") })
	eventually(t, "the others of the flood are given up", func() bool {
		return h.sum("ringstore_nats_dead_letters_total", subject, deadShare) >= flood-maxPutOff
	})
}

// Where no guests publish, messages wait for the issuer's keys, however many they are.
func TestMessagesWaitForKeys(t *testing.T) {
	t.Parallel()
	h := newHarness(t).streaming()
	failing := &failingAuthenticator{Authenticator: h.options.Authenticator}
	failing.failing.Store(true)
	h.options.Authenticator = failing
	url := streamServer(t).ClientURL()
	c := connect(t, url)
	makeStream(t, c, nil)
	queue(t, c, bearers(hostNames(maxPutOff+50))...)
	s := h.subscribe(url)
	eventually(t, "all are put off", func() bool {
		return h.sum("ringstore_nats_stream_messages_total", subject, "nak") >= maxPutOff+50
	})
	failing.failing.Store(false)
	eventually(t, "all are stored", func() bool { return len(h.hosts()) == maxPutOff+50 })
	h.close(s)
	if got := h.sum("ringstore_nats_dead_letters_total"); got != 0 {
		t.Errorf("%v messages were given up", got)
	}
}

// What a stream removed before it was delivered is counted.
func TestGapsOfAStreamAreCounted(t *testing.T) {
	t.Parallel()
	h := newHarness(t).streaming()
	url := streamServer(t).ClientURL()
	c := connect(t, url)
	makeStream(t, c, func(s *jetstream.StreamConfig) { s.MaxMsgs = 4 })
	s := h.subscribe(url)
	queue(t, c, bearer("first"))
	eventually(t, "it is stored", func() bool { return h.stored("first") })
	waitForAcks(t, c)
	h.close(s)
	queue(t, c, bearers(hostNames(10))...)
	h.registry.Unregister(s.counters)
	s = h.subscribe(url)
	eventually(t, "the rest is stored", func() bool { return len(h.hosts()) == 5 })
	eventually(t, "the gap is counted", func() bool { return h.sum("ringstore_nats_stream_gap_messages_total", subject) == 6 })
	mustContain(t, "the log", h.log.String(), "removed messages before they were delivered")
	h.close(s)
}

// Every message up to the one reported is settled.
func TestSettledMessagesAreReported(t *testing.T) {
	t.Parallel()
	h := newHarness(t).streaming()
	var settled atomic.Uint64
	h.options.Settle = func(stream, sequence uint64) {
		if stream == 0 {
			t.Error("no stream")
		}
		settled.Store(sequence)
	}
	url := streamServer(t).ClientURL()
	h.subscribe(url)
	c := connect(t, url)
	eventually(t, "the consumer is there", func() bool { return consumerInfo(t, c) != nil })
	queue(t, c, bearers(hostNames(7))...)
	eventually(t, "all are settled", func() bool { return settled.Load() == 7 })
}

// A stream that is created here is limited in bytes, to less where the server has no more.
func TestNewStreamsAreLimited(t *testing.T) {
	t.Parallel()
	f := func(name string, available, want int64) {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t).streaming()
			o := server.Options{JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: available}
			url := runServer(t, o).ClientURL()
			h.subscribe(url)
			c := connect(t, url)
			eventually(t, "the stream is there", func() bool { return consumerInfo(t, c) != nil })
			stream, err := newJetStream(t, c).Stream(t.Context(), streamName)
			if err != nil {
				t.Fatal(err)
			}
			if got := stream.CachedInfo().Config.MaxBytes; got != want {
				t.Errorf("%d bytes, want %d", got, want)
			}
		})
	}
	f("enough", 20<<30, 16<<30)
	f("a quarter", 5<<30, 4<<30)
}

// The limit of a stream of the embedded server stays what it is, and never removes messages.
func TestLimitOfOurOwnStream(t *testing.T) {
	t.Parallel()
	f := func(have, size, want int64) {
		t.Helper()
		info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{MaxBytes: have}, State: jetstream.StreamState{Bytes: uint64(size)}}
		if got := limitOf(info); got != want {
			t.Errorf("%d bytes in a stream of %d: %d, want %d", size, have, got, want)
		}
	}
	f(-1, 0, 16<<30)
	f(-1, 20<<30, 20<<30)
	f(1<<30, 1<<20, 1<<30)
}
