package auth

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// auditLines is how many lines a second one peer gets for one reason.
	auditLines = 10
	// auditPeers is how many pairs of peer and reason are told apart within a second; the rest share one per reason.
	auditPeers = 1024
	// auditField is the longest field of a line, in bytes before escaping.
	auditField = 256
	// otherPeers stands for the peers beyond auditPeers in the line that counts what was suppressed.
	otherPeers = "(others)"
)

// An Event is somebody turned away. What is not known, as the subject of a forged token, stays empty.
type Event struct {
	Time      time.Time // zero: when it is recorded
	Transport string    // the door: "http", "nats"
	Request   string    // its id in the answer and in log lines; empty if there is none
	Peer      string    // an address without its port, which would make every connection a new peer
	Issuer    string
	Subject   string
	Roles     Roles
	Action    Action
	Code      Reason // of the *Refusal or *Denied
}

// An Audit counts refusals and writes each as one line of JSON, ten a second per peer and reason; when the second has
// passed, one line tells how many more there were. Its memory is bounded however many peers there are. It is safe
// for concurrent use.
type Audit struct {
	now func() time.Time

	mu     sync.Mutex
	w      io.Writer
	err    error // the first failed write since Flush last told of one
	start  time.Time
	peers  map[peerReason]*burst // of the second that began at start
	counts map[doorReason]uint64
}

type peerReason struct {
	peer string
	code Reason
}

type doorReason struct {
	transport string
	code      Reason
}

// burst is what one peer did within the second for one reason.
type burst struct{ lines, suppressed int }

// NewAudit writes to w, one Write for one or more whole lines; w stays the caller's to close. now is the clock, nil
// means time.Now.
func NewAudit(w io.Writer, now func() time.Time) *Audit {
	if now == nil {
		now = time.Now
	}
	return &Audit{
		w: w, now: now, start: now(),
		peers: make(map[peerReason]*burst), counts: make(map[doorReason]uint64),
	}
}

// Record counts the event and writes its line, unless the peer has had its lines for this second. An error of the
// writer is kept for Flush: who is turned away must not depend on the disk.
func (a *Audit) Record(e Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	a.turn(now)
	a.counts[doorReason{e.Transport, e.Code}]++

	b := a.burst(e)
	if b.lines == auditLines {
		b.suppressed++
		return
	}
	b.lines++
	if e.Time.IsZero() {
		e.Time = now
	}
	a.write(e.appendLine(nil, 0))
}

// Flush writes what was suppressed in a second that has passed, and returns the first error of writing since the last
// Flush. Somebody has to call it about once a second, or the end of a flood is told only by the next event.
func (a *Audit) Flush() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn(a.now())
	err := a.err
	a.err = nil
	return err
}

// Close writes everything that was suppressed so far and returns as Flush does. The Audit stays usable.
func (a *Audit) Close() error {
	a.mu.Lock()
	a.summarize(a.now())
	a.mu.Unlock()
	return a.Flush()
}

// Counts calls f for each transport and reason with the number of events recorded, suppressed ones too, in the order
// of transport and reason. f is called outside the lock.
func (a *Audit) Counts(f func(transport string, code Reason, n uint64)) {
	a.mu.Lock()
	counts := maps.Clone(a.counts)
	a.mu.Unlock()
	keys := slices.SortedFunc(maps.Keys(counts), func(x, y doorReason) int {
		return cmp.Or(cmp.Compare(x.transport, y.transport), cmp.Compare(x.code, y.code))
	})
	for _, k := range keys {
		f(k.transport, k.code, counts[k])
	}
}

// turn begins a new second when the last one has passed, or the clock was set back.
func (a *Audit) turn(now time.Time) {
	if age := now.Sub(a.start); age < 0 || age >= time.Second {
		a.summarize(now)
		a.start = now
	}
}

// summarize writes a line for each peer and reason with suppressed events, and forgets all of them.
func (a *Audit) summarize(now time.Time) {
	keys := slices.SortedFunc(maps.Keys(a.peers), func(x, y peerReason) int {
		return cmp.Or(cmp.Compare(x.peer, y.peer), cmp.Compare(x.code, y.code))
	})
	var lines []byte
	for _, k := range keys {
		if n := a.peers[k].suppressed; n > 0 {
			lines = Event{Time: now, Peer: k.peer, Code: k.code}.appendLine(lines, n)
		}
	}
	clear(a.peers)
	if len(lines) > 0 {
		a.write(lines)
	}
}

func (a *Audit) burst(e Event) *burst {
	key := peerReason{bounded(e.Peer), e.Code}
	b, ok := a.peers[key]
	if !ok && len(a.peers) >= auditPeers {
		key.peer = otherPeers
		b, ok = a.peers[key]
	}
	if !ok {
		b = new(burst)
		a.peers[key] = b
	}
	return b
}

func (a *Audit) write(lines []byte) {
	if _, err := a.w.Write(lines); err != nil && a.err == nil {
		a.err = fmt.Errorf("audit: %w", err)
	}
}

// appendLine appends the event as one line of JSON.
func (e Event) appendLine(dst []byte, suppressed int) []byte {
	line, err := json.Marshal(struct {
		Time       time.Time `json:"time"`
		Transport  string    `json:"transport"`
		Request    string    `json:"id,omitempty"`
		Peer       string    `json:"peer"`
		Issuer     string    `json:"issuer"`
		Subject    string    `json:"subject"`
		Roles      []string  `json:"roles"`
		Action     string    `json:"action"`
		Code       string    `json:"code"`
		Suppressed int       `json:"suppressed,omitempty"`
	}{
		e.Time.UTC(), bounded(e.Transport), bounded(e.Request), bounded(e.Peer), bounded(e.Issuer), bounded(e.Subject),
		e.Roles.Names(), e.Action.String(), bounded(string(e.Code)), suppressed,
	})
	if err != nil { // a year that RFC 3339 cannot write
		return dst
	}
	return append(appendPrintable(dst, line), '\n')
}

// appendPrintable appends JSON with what a terminal might act upon escaped: encoding/json leaves DEL, the C1 controls
// and the bidirectional marks as they are. All of them can only stand inside strings.
func appendPrintable(dst, line []byte) []byte {
	for _, r := range string(line) {
		switch {
		case unicode.IsPrint(r):
			dst = utf8.AppendRune(dst, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			dst = appendEscape(appendEscape(dst, high), low)
		default:
			dst = appendEscape(dst, r)
		}
	}
	return dst
}

func appendEscape(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// bounded cuts s to the longest that a field may be, between runes.
func bounded(s string) string {
	if len(s) <= auditField {
		return s
	}
	n := auditField
	for n > auditField-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.Clone(s[:n])
}
