package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	natsgo "github.com/nats-io/nats.go"
)

// publish publishes messages over n connections until ctx ends.
func publish(ctx context.Context, t *target, n int, subject string, message func(i int) *natsgo.Msg) int64 {
	return each(n, func(worker int) (sent int64) {
		for i := worker; ctx.Err() == nil; {
			c, err := natsgo.Connect("nats://"+t.NATS, natsgo.NoReconnect())
			if err != nil {
				continue
			}
			for ; ctx.Err() == nil; i += n {
				m := message(i)
				m.Subject = subject
				if c.PublishMsg(m) != nil || c.FlushWithContext(ctx) != nil {
					break
				}
				sent += int64(len(m.Data))
			}
			c.Close()
		}
		return sent
	})
}

func withToken(token string, data []byte) *natsgo.Msg {
	m := natsgo.NewMsg("")
	m.Header.Set("Authorization", "Bearer "+token)
	m.Data = data
	return m
}

// longLines sends messages that begin with a line of more than 128 KiB, followed by many others.
func longLines(ctx context.Context, t *target) int64 {
	var b bytes.Buffer
	b.WriteString("load,hostname=" + strings.Repeat("h", 200_000) + " value=1\n")
	for b.Len() < 7<<20 {
		b.WriteString("load,hostname=long value=1\n")
	}
	return publish(ctx, t, 2, subject, func(int) *natsgo.Msg { return withToken(t.Tokens["api"], b.Bytes()) })
}

// emptyLines sends messages of 63 KB that are 62 MB of empty lines.
func emptyLines(ctx context.Context, t *target) int64 {
	data := zip(strings.Repeat("\n", 62_000_000))
	return publish(ctx, t, 4, subject, func(int) *natsgo.Msg {
		m := withToken(t.Tokens["api"], data)
		m.Header.Set("Content-Encoding", "gzip")
		return m
	})
}

// guestPayload is how large a message of a guest may be, in bytes (docs/nats.md).
const guestPayload = 256 << 10

// guests sends messages without a token over four connections: one with messages of almost 8 MB,
// which are too large for guests, three with as much as guests may send.
func guests(ctx context.Context, t *target) int64 {
	data := bytes.Repeat([]byte("x"), 8<<20-1000)
	return publish(ctx, t, 4, subject, func(i int) *natsgo.Msg {
		m := natsgo.NewMsg("")
		m.Data = data
		if i%4 > 0 {
			m.Data = data[:guestPayload-1000]
		}
		return m
	})
}

// streamGuests sends messages whose token cannot be verified now.
func streamGuests(ctx context.Context, t *target) int64 {
	return publish(ctx, t, 4, streamSubject, func(i int) *natsgo.Msg {
		return withToken(t.Unknown[i%len(t.Unknown)], fmt.Appendf(nil, "load,hostname=guest value=%d\n", i))
	})
}
