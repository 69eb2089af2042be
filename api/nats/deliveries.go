package nats

import (
	"hash/fnv"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
)

// Messages are put off whose token cannot be verified now, or whose samples seem to lie in the
// future. The server counts them as pending, up to maxAckPending, so their number is bounded, except
// that of unverifiable ones where no guests may publish: these wait for an issuer's keys.
const (
	maxPutOff          = maxAckPending / 4
	maxDeliveries      = 100 // of a message that is put off, more than an hour
	maxGuestDeliveries = 12  // of one by guests, some minutes
	deadAttempts       = "attempts"
	deadShare          = "share"
)

// bounded returns the verdict of a message, which is discard instead of putOff or early when it has
// waited for long, or too many others wait.
func (p *puller) bounded(m jetstream.Msg, v verdict) verdict {
	meta, err := m.Metadata()
	if err != nil {
		return v
	}
	sequence := meta.Sequence.Stream
	if v != putOff && v != early {
		delete(p.waiting, sequence)
		return v
	}
	limit := uint64(maxDeliveries)
	if p.feed.Guests {
		limit = maxGuestDeliveries
	}
	reason := ""
	switch {
	case meta.NumDelivered >= limit:
		reason = deadAttempts
	case (p.feed.Guests || v == early) && !p.waiting[sequence] && len(p.waiting) >= maxPutOff:
		reason = deadShare
	default:
		p.waiting[sequence] = true
		return v
	}
	delete(p.waiting, sequence)
	p.feed.counters.deadLetters.WithLabelValues(p.feed.Subject.Subject, reason).Inc()
	p.feed.dead.add(1, "reason", reason, "sequence", sequence, "deliveries", meta.NumDelivered)
	return discard
}

// identity returns a number that is another one for a stream of the same name that was created
// later.
func identity(stream *jetstream.StreamInfo) uint64 {
	sum := fnv.New64a()
	sum.Write([]byte(stream.Config.Name))
	sum.Write([]byte{0})
	sum.Write(strconv.AppendInt(nil, stream.Created.UnixNano(), 10))
	return max(sum.Sum64(), 1) // 0: none
}

// settle reports up to which message all consumers of a stream are done.
func (s *Subscriber) settle(stream string, id uint64) {
	var floors []uint64
	for _, p := range s.pullers {
		if p.feed.Stream == stream {
			floors = append(floors, p.floor.Load())
		}
	}
	if floor := slices.Min(floors); floor > 0 {
		s.o.Settle(id, floor)
	}
}

// countGap counts the messages that the stream removed before they were delivered. In a stream with
// other subjects it cannot tell whose messages they were.
func (p *puller) countGap(stream *jetstream.StreamInfo, delivered uint64) {
	p.gapsUpTo = max(p.gapsUpTo, delivered)
	first := stream.State.FirstSeq
	if first <= p.gapsUpTo+1 {
		return
	}
	missing := first - 1 - p.gapsUpTo
	p.gapsUpTo = first - 1
	if len(stream.Config.Subjects) != 1 || stream.Config.Subjects[0] != p.feed.Subject.Subject {
		p.log.Warn("NATS stream removed messages before they were delivered; some may be of this subject", "messages", missing, "first", first)
		return
	}
	p.feed.counters.gaps.WithLabelValues(p.feed.Subject.Subject).Add(float64(missing))
	p.log.Warn("NATS stream removed messages before they were delivered", "messages", missing, "first", first)
}
