package main

import "context"

// attack is one case.
type attack struct {
	name string
	// run attacks until ctx ends, or earlier, and returns the number of bytes sent. It runs in a
	// process of its own; errors of its requests are what an attacker expects.
	run func(ctx context.Context, t *target) (sent int64)

	nats      bool // the server has an embedded NATS server
	expensive bool // there are issuers with expensive signatures
	stores    bool // it stores samples, so that memory grows and work is done
	long      bool // not with -short

	prepare func(ctx context.Context, s *site) error // before anything is measured; may be nil
	// honest sends what must not get lost until ctx ends; may be nil.
	honest func(ctx context.Context, s *site) (sent, lost int, err error)
	unit   string // of what it sends
}

// attacks returns all cases, by what they are after.
func attacks() []attack {
	return []attack{
		// Memory and CPU, over HTTP.
		{name: "headers", run: headers},
		{name: "unread-answers", run: answersUnread},
		{name: "duplicate-ids", run: duplicateIDs, prepare: fillOther},
		{name: "duplicate-metrics", run: duplicateMetrics, prepare: fillOther},
		{name: "unknown-metrics", run: unknownMetrics},
		{name: "old-hosts", run: oldHosts},
		{name: "signatures", run: signatures, expensive: true, honest: newTokens, unit: "new tokens"},

		// Memory, CPU and losses, over NATS.
		{name: "long-lines", run: longLines, nats: true, honest: messages(subject), unit: "messages"},
		{name: "empty-lines", run: emptyLines, nats: true, honest: messages(subject), unit: "messages"},
		{name: "guests", run: guests, nats: true, honest: messages(subject), unit: "messages"},
		{name: "guests-on-a-stream", run: streamGuests, nats: true, honest: messages(streamSubject), unit: "messages"},

		// One cluster against another.
		{name: "hosts-of-a-cluster", run: manyHosts, stores: true, prepare: fillOther, honest: otherSamples, unit: "samples"},
		{name: "memory-of-a-cluster", run: manySeries, stores: true, long: true, prepare: fillOther, honest: otherSamples, unit: "samples"},
	}
}
