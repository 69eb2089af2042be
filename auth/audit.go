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
	// auditLines is the number of lines per second for one peer and reason.
	auditLines = 10
	// auditPeers is how many pairs of peer and reason are distinguished within a second; the rest share one per reason.
	auditPeers = 1024
	// auditField is the maximum length of a field, in bytes before escaping.
	auditField = 256
	// otherPeers stands for the peers beyond auditPeers.
	otherPeers = "(others)"
)

// An Event is a request that was refused, or an administrative action that was performed. Unknown fields, such as the subject of a forged token, stay empty.
type Event struct {
	Time      time.Time // zero: when it is recorded
	Transport string    // "http", "nats" or "signal"
	Request   string    // the request's id in the response and in the log; empty if it has none
	Peer      string    // an address without its port, which would make every connection a new peer
	Issuer    string
	Subject   string
	Roles     Roles
	Action    Action
	Code      Reason // of the *Refusal or *Denied; Accepted for an action that was performed
}

// An Audit writes each event as one line of JSON, at most ten per second for one peer and reason; when the second has
// passed, one more line counts the suppressed ones. Its memory is bounded for any number of peers. It is safe for
// concurrent use.
type Audit struct {
	now func() time.Time

	mu    sync.Mutex
	w     io.Writer
	err   error // the first failed write since the last Flush
	start time.Time
	peers map[peerReason]*burst // of the second that began at start
}

type peerReason struct {
	peer string
	code Reason
}

// burst counts one peer's events within a second, for one reason.
type burst struct{ lines, suppressed int }

// NewAudit returns an Audit that writes to w, one or more whole lines per Write. The caller closes w. now is the clock;
// nil means time.Now.
func NewAudit(w io.Writer, now func() time.Time) *Audit {
	if now == nil {
		now = time.Now
	}
	return &Audit{w: w, now: now, start: now(), peers: make(map[peerReason]*burst)}
}

// SetWriter makes the Audit write to w. No write to the previous writer is in progress afterwards, so the caller may
// close it.
func (a *Audit) SetWriter(w io.Writer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.w = w
}

// Record writes the event's line, unless the peer has used up its lines for this second. Flush returns the writer's
// error: refusing a request must not depend on the disk.
func (a *Audit) Record(e Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	a.advance(now)
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

// Flush writes the counts of suppressed events once their second has passed, and returns the first write error since
// the last Flush. Call it about once per second; otherwise the end of a flood is written only with the next event.
func (a *Audit) Flush() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.advance(a.now())
	err := a.err
	a.err = nil
	return err
}

// Close writes all counts of suppressed events and returns what Flush returns. The Audit stays usable.
func (a *Audit) Close() error {
	a.mu.Lock()
	a.summarize(a.now())
	a.mu.Unlock()
	return a.Flush()
}

// advance begins a new second when the last one has passed, or the clock was set back.
func (a *Audit) advance(now time.Time) {
	if age := now.Sub(a.start); age < 0 || age >= time.Second {
		a.summarize(now)
		a.start = now
	}
}

// summarize writes a line for each peer and reason with suppressed events, and forgets all peers.
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
	if err != nil { // a year outside RFC 3339's range
		return dst
	}
	return append(appendPrintable(dst, line), '\n')
}

// appendPrintable appends JSON, escaping characters that a terminal might interpret: encoding/json leaves DEL, the C1
// controls and the bidirectional marks unescaped. They occur only inside strings.
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

// bounded truncates s to auditField bytes, between runes.
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
