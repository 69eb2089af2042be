package prometheus

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/ringstore/ringstore/api/lineprotocol"
)

// DeviceLabels says which labels of the series that are written name a device or a part of one: by
// label, the type or the subtype. The value of the label is its id.
type DeviceLabels struct{ Types, Subtypes map[string]string }

// seriesReader reads the samples of a message, by the contract of ingest.Points. Values that are not
// numbers, and so stale markers, are no samples: it skips them.
type seriesReader struct {
	*writeMessage
	devices DeviceLabels

	rest    []byte // series that are not read yet
	samples []byte // of the current series: its fields from the next sample on
	labels  []label
	key     []byte
	bad     error // of the key
	skipped int   // samples
}

func newSeriesReader(m *writeMessage, d DeviceLabels) *seriesReader {
	return &seriesReader{writeMessage: m, devices: d, rest: m.bytes}
}

// Next returns the next sample. The error says why the current series cannot be stored.
func (r *seriesReader) Next(l *lineprotocol.Line) (ok bool, err error) {
	for {
		p, ok := r.sample()
		switch {
		case ok && p.value != p.value:
			r.skipped++
		case ok:
			*l = lineprotocol.Line{Key: r.key, Value: p.value, Time: p.time, HasTime: true}
			return true, r.bad
		case !r.series():
			return false, nil
		}
	}
}

// sample returns the next sample of the current series. The message is checked.
func (r *seriesReader) sample() (point, bool) {
	for len(r.samples) > 0 {
		f, rest, err := cutField(r.samples)
		if err != nil {
			return point{}, false
		}
		r.samples = rest
		if f.number == seriesSamples {
			p, err := sampleOf(f)
			return p, err == nil
		}
	}
	return point{}, false
}

// series moves to the next series.
func (r *seriesReader) series() bool {
	for len(r.rest) > 0 {
		f, rest, err := cutField(r.rest)
		if err != nil {
			return false
		}
		r.rest = rest
		if !r.isSeries(f) {
			continue
		}
		r.samples = f.bytes
		if r.labels, r.bad = r.writeMessage.labels(r.labels[:0], f.bytes); r.bad == nil {
			r.key, r.bad = r.devices.appendKey(r.key[:0], r.labels)
		}
		return true
	}
	return false
}

// tags are the labels of a series on the way to the key of a line.
type tags struct {
	metric, host, instance []byte
	device, part           label // type and stype with their ids, from a configured label
	others                 []label
}

// appendKey appends the key of a line for the same series: the labels that we give a series when it
// is queried are read as they are, "instance" without its port is the host where no label "hostname"
// is, and labels of devices become types and ids. All other labels are tags.
func (d DeviceLabels) appendKey(dst []byte, labels []label) ([]byte, error) {
	if areTooLong(labels) {
		return dst, errLongLabels
	}
	var t tags
	t.others = labels[:0]
	for _, l := range labels {
		if len(l.value) == 0 {
			continue // as if it were not there
		}
		if err := d.sort(&t, l); err != nil {
			return dst, err
		}
	}
	switch {
	case len(t.metric) == 0:
		return dst, errNoName
	case len(t.host) == 0:
		t.host = hostOf(t.instance)
	case len(t.instance) > 0:
		t.others = append(t.others, label{instanceLabel, t.instance})
	}
	dst, err := appendEscaped(dst, t.metric, ", ")
	add := func(name, value []byte) {
		if len(value) > 0 && err == nil {
			dst, err = appendTag(dst, name, value)
		}
	}
	add([]byte(hostLabel), t.host)
	add([]byte("type"), t.device.name)
	add([]byte("type-id"), t.device.value)
	add([]byte("stype"), t.part.name)
	add([]byte("stype-id"), t.part.value)
	for _, l := range t.others {
		add(l.name, l.value)
	}
	if err == nil && len(dst) > lineprotocol.MaxKey {
		err = errLongLabels
	}
	return dst, err
}

var (
	instanceLabel = []byte("instance")
	errNoName     = errors.New("no label " + nameLabel)
	errLongLabels = fmt.Errorf("the labels are longer than %d bytes", lineprotocol.MaxKey)
)

// areTooLong reports whether labels are far too long for a key. They are not copied then: many labels
// can refer to one symbol, which may be as long as a message. Names that are no part of the key are
// shorter than a key.
func areTooLong(labels []label) bool {
	n := 0
	for _, l := range labels {
		n += len(l.name) + len(l.value)
	}
	return n > 2*lineprotocol.MaxKey
}

// sort puts a label where it belongs.
func (d DeviceLabels) sort(t *tags, l label) error {
	switch string(l.name) {
	case nameLabel:
		t.metric = l.value
	case hostLabel:
		t.host = l.value
	case "instance":
		t.instance = l.value
	case typeIDLabel:
		t.others = append(t.others, label{[]byte("type-id"), l.value})
	case stypeIDLabel:
		t.others = append(t.others, label{[]byte("stype-id"), l.value})
	default:
		if kind, ok := d.Types[string(l.name)]; ok {
			return t.device.set(kind, l)
		}
		if kind, ok := d.Subtypes[string(l.name)]; ok {
			return t.part.set(kind, l)
		}
		t.others = append(t.others, l)
	}
	return nil
}

// set makes l, which is still empty, a type and the id that a label has.
func (l *label) set(kind string, from label) error {
	if l.name != nil {
		return fmt.Errorf("two labels name a %s or %s: the second is %q", l.name, kind, clip(string(from.name)))
	}
	l.name, l.value = []byte(kind), from.value
	return nil
}

// hostOf returns the host of an instance, which is host:port in most cases.
func hostOf(instance []byte) []byte {
	if bytes.IndexByte(instance, ':') < 0 {
		return instance
	}
	host, port, err := net.SplitHostPort(string(instance))
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || host == "" {
		return instance
	}
	return []byte(host)
}

func appendTag(dst, name, value []byte) ([]byte, error) {
	dst, err := appendEscaped(append(dst, ','), name, ",= ")
	if err != nil {
		return dst, err
	}
	return appendEscaped(append(dst, '='), value, ",= ")
}

// appendEscaped appends a name or value with backslashes before special bytes. A backslash at the
// end would escape what follows, and line protocol cannot escape it.
func appendEscaped(dst, text []byte, special string) ([]byte, error) {
	if n := len(text); n > 0 && text[n-1] == '\\' {
		return dst, fmt.Errorf("a label ends with a backslash: %q", clip(string(text)))
	}
	if !bytes.ContainsAny(text, special) {
		return append(dst, text...), nil
	}
	for _, c := range text {
		if bytes.IndexByte([]byte(special), c) >= 0 {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return dst, nil
}
