package importreport

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/archive"
	"github.com/ringstore/ringstore/archive/ccms"
	"github.com/ringstore/ringstore/cmd/internal/logging"
)

func logged(t *testing.T, s archive.ImportSummary) []string {
	t.Helper()
	var b bytes.Buffer
	log, err := logging.New(&b, "info", logging.Text, false)
	if err != nil {
		t.Fatal(err)
	}
	Log(log, "/old", s)
	return strings.Split(strings.TrimSpace(b.String()), "\n")
}

// A server warns of what it did not import, and says how to repeat the import.
func TestLog(t *testing.T) {
	f := func(s archive.ImportSummary, want ...string) {
		t.Helper()
		got := logged(t, s)
		if len(got) != len(want) {
			t.Fatalf("got %q", got)
		}
		for i, w := range want {
			if !strings.Contains(got[i], w) {
				t.Errorf("got %q, want %q", got[i], w)
			}
		}
	}
	all := archive.ImportSummary{Summary: ccms.Summary{Files: 1, Samples: 5}}
	f(all, `level=INFO msg=imported`)
	none := archive.ImportSummary{Summary: ccms.Summary{Files: 1, Samples: 5, Refused: 5}}
	none.Losses = []archive.Loss{{Reason: "because", Samples: 5, Metrics: []archive.MetricLoss{{Metric: "ipc", Samples: 3}, {Metric: "", Samples: 2}}}}
	f(none, `level=WARN msg="samples not imported" reason=because samples=5 metrics="ipc: 3, others: 2"`,
		`level=WARN msg=imported`, `directory=/old`)
	skipped := archive.ImportSummary{Summary: ccms.Summary{Skipped: 1}}
	f(skipped, `level=WARN msg=imported`, `ringstore import`)
}

func TestPrint(t *testing.T) {
	s := archive.ImportSummary{
		Summary: ccms.Summary{
			Files: 1, Samples: 3, Refused: 2, TornTails: 2,
			Hosts: []ccms.Host{{Cluster: "fritz", Host: "n1", Samples: 3, From: 60, To: 120}, {Cluster: "fritz", Host: "n2"}},
		},
		Losses: []archive.Loss{{Reason: "because", Samples: 2}},
	}
	for i := range 12 {
		s.Losses[0].Metrics = append(s.Losses[0].Metrics, archive.MetricLoss{Metric: "m", Samples: 12 - i})
	}
	var b bytes.Buffer
	if err := Print(&b, s); err != nil {
		t.Fatal(err)
	}
	want := `fritz/n1: 3 samples from 1970-01-01T00:01:00Z to 1970-01-01T00:02:00Z
fritz/n2: no samples
not imported, because: 2 samples (m: 12, m: 11, m: 10, m: 9, m: 8, m: 7, m: 6, m: 5, m: 4, m: 3, and 2 more)
imported 1 sample of 2 hosts, refused 2
read 1 file, skipped 0 older than the retention; 0 damaged places, 2 logs with an incomplete last record
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	Log(slog.New(slog.DiscardHandler), "", s)
}
