package rest

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/ringstore/ringstore/api/internal/truncate"
)

const (
	maxWarnings     = 100
	maxWarnedName   = 256 // bytes
	warnedNamesOver = 8 * maxWarnedName
)

// warnings are what a request asked for that does not exist, each once. A nil *warnings has none.
type warnings struct{ list []string }

// warningsFor returns where to collect the warnings of a request. It is nil unless the caller's
// role shows all clusters, because warnings reveal what exists.
func (h *Handler) warningsFor(w http.ResponseWriter) *warnings {
	if !h.reader(w).HasServiceRole("") { // no cluster has an empty name
		return nil
	}
	return new(warnings)
}

// add adds a warning about a name.
func (w *warnings) add(what, name string) {
	if w == nil || len(w.list) == maxWarnings {
		return
	}
	text := what + " " + strconv.Quote(truncate.Text(name, maxWarnedName))
	if !slices.Contains(w.list, text) {
		w.list = append(w.list, text)
	}
}

// warnings appends the warnings of a request, if there are any.
func (a *answer) warnings(w *warnings) {
	if w == nil || len(w.list) == 0 {
		return
	}
	a.raw(`,"warnings":[`)
	first := true
	for _, text := range w.list {
		a.comma(&first)
		a.string(text)
	}
	a.raw("]")
}

var (
	requestMembers = membersOf(reflect.TypeFor[request]())
	queryMembers   = membersOf(reflect.TypeFor[query]())
)

// membersOf returns the names of the members that a JSON object for t has, in lower case:
// encoding/json ignores the case.
func membersOf(t reflect.Type) map[string]bool {
	members := make(map[string]bool)
	for field := range t.Fields() {
		if name := field.Tag.Get("json"); name != "" {
			members[strings.ToLower(name)] = true
		}
	}
	return members
}

// memberChecker warns of members that neither a request nor a query has. The body of the request is
// written to it, in parts, while it is decoded; what it makes of a body that is not JSON does not
// matter.
type memberChecker struct {
	*warnings
	depth     int
	opened    [4]byte // brackets of the outermost levels, from depth 1 on
	member    string  // of the request, to which the current value belongs
	expectKey bool
	inString  bool
	isKey     bool
	escaped   bool
	key       []byte
}

func (c *memberChecker) Write(p []byte) (int, error) {
	for _, b := range p {
		if c.inString {
			c.inKey(b)
			continue
		}
		switch b {
		case '"':
			c.inString, c.isKey, c.expectKey = true, c.expectKey, false
			c.key = c.key[:0]
		case '{', '[':
			if c.depth++; c.depth < len(c.opened) {
				c.opened[c.depth] = b
			}
			c.expectKey = b == '{' && c.checks()
		case '}', ']':
			c.depth--
			c.expectKey = false
		case ',':
			c.expectKey = c.checks()
		}
	}
	return len(p), nil
}

// checks reports whether the current value is the request or one of its queries.
func (c *memberChecker) checks() bool {
	switch c.depth {
	case 1:
		return c.opened[1] == '{'
	case 3:
		return c.member == "queries" && c.opened[2] == '[' && c.opened[3] == '{'
	default:
		return false
	}
}

// inKey reads a byte of a string.
func (c *memberChecker) inKey(b byte) {
	if b == '"' && !c.escaped {
		c.inString = false
		if c.isKey {
			c.check()
		}
		return
	}
	c.escaped = b == '\\' && !c.escaped
	if c.isKey && len(c.key) < warnedNamesOver {
		c.key = append(c.key, b)
	}
}

// check warns of the key that was read, if it is unknown.
func (c *memberChecker) check() {
	name := string(c.key)
	if strings.Contains(name, `\`) {
		_ = json.Unmarshal([]byte(`"`+name+`"`), &name)
	}
	lower := strings.ToLower(name)
	if c.depth > 1 {
		if !queryMembers[lower] {
			c.add("queries: unknown member", name)
		}
		return
	}
	c.member = lower
	if !requestMembers[lower] {
		c.add("unknown member", name)
	}
}
