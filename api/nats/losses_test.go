package nats

import (
	"testing"
)

// Messages that the embedded server had queued for us when it disconnected us are counted and logged.
func TestLossesOfOurOwnConnectionAreCounted(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := h.subscribe("")
	publish(t, connect(t, addressOf(s)), bearers(hostNames(5))...)
	eventually(t, "all are stored", func() bool { return len(h.hosts()) == 5 })
	// As if the library had not received three of the messages.
	id := s.embedded.ownID.Load()
	eventually(t, "it is counted for", func() bool {
		s.losses.mu.Lock()
		defer s.losses.mu.Unlock()
		s.losses.base = 3
		return s.losses.id == id
	})
	s.embedded.disconnect(id)
	eventually(t, "it is connected again", func() bool { return s.embedded.ownID.Load() != id && s.Connected() })
	eventually(t, "three are counted", func() bool { return h.sum("ringstore_nats_lost_messages_total") == 3 })
	mustContain(t, "the log", h.log.String(), "NATS messages lost")
	id = s.embedded.ownID.Load()
	s.embedded.disconnect(id)
	eventually(t, "it is connected again", func() bool { return s.embedded.ownID.Load() != id && s.Connected() })
	publish(t, connect(t, addressOf(s)), bearer("more"))
	eventually(t, "it receives", func() bool { return h.stored("more") })
	if n := h.sum("ringstore_nats_lost_messages_total"); n != 3 {
		t.Errorf("%v messages counted, want no more", n)
	}
}
