package ingest

import (
	"errors"
	"strings"
	"testing"
)

// Lines that are empty, comments or malformed are read up to a limit, which usable ones raise. What
// was usable before is stored.
func TestUnusableLines(t *testing.T) {
	const sample = "load,cluster=a,hostname=h value=1\n"
	f := func(name, batch string, accepted int, refused bool) {
		t.Helper()
		g, _ := newIngester(t, nil, "load")
		for how, submit := range map[string]func() (Report, error){
			"batch":  func() (Report, error) { return g.Batch(t.Context(), Source{}, []byte(batch)) },
			"stream": func() (Report, error) { return g.Stream(t.Context(), Source{}, strings.NewReader(batch)) },
		} {
			r, err := submit()
			if errors.Is(err, ErrUnusable) != refused || r.Accepted != accepted || r.RejectedTotal > 4*maxUnusable {
				t.Errorf("%s, %s: %d accepted, %d rejected, %v", name, how, r.Accepted, r.RejectedTotal, err)
			}
		}
	}
	f("empty lines", strings.Repeat("\n", 62_000_000), 0, true)
	f("a sample first", sample+strings.Repeat("\n", 2_000_000), 1, true)
	f("comments", strings.Repeat("#\n", 1_000_000), 0, true)
	f("carriage returns", strings.Repeat("\r\n", 1_000_000), 0, true)
	f("malformed lines", strings.Repeat("x\n", 1_000_000), 0, true)
	f("as many as are permitted", strings.Repeat("\n", maxUnusable)+sample, 1, false)
	f("every other line", strings.Repeat(sample+"\n", 100_000), 100_000, false)
	f("unconfigured metrics", strings.Repeat("nope,cluster=a,hostname=h value=1\n", 200_000), 0, false)
}
