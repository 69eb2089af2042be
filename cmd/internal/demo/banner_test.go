package demo

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/cmd/internal/terminal"
)

// TestBannerFitsOnAScreen: with real tokens it has at most the 24 rows of 80 columns that a
// terminal has, and no colours where there is no terminal.
func TestBannerFitsOnAScreen(t *testing.T) {
	issuer, err := newIssuer()
	if err != nil {
		t.Fatal(err)
	}
	p, err := issuer.principals()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	b := banner{
		Style: terminal.StyleFor(&out, func(string) string { return "" }),
		URL:   "http://" + DefaultAddr, NATS: "nats://" + DefaultNATSAddr, Subject: metricsSubject,
		Dir: "/tmp/ringstore-demo-1234567890", Program: "ringstore", tokens: p.people,
	}
	if err := b.print(&out); err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(out.String()) {
		rows += max(1, (len(strings.TrimSuffix(line, "\n"))+79)/80)
	}
	if rows > 24 || strings.Contains(out.String(), "\x1b") || strings.Contains(out.String(), "-server") {
		t.Errorf("%d rows:\n%s", rows, out.String())
	}
	b.URL = "http://127.0.0.1:9"
	out.Reset()
	if err := b.print(&out); err != nil || !strings.Contains(out.String(), "ringstore top -server http://127.0.0.1:9\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestShellWords: a shell reads a quoted word as it was.
func TestShellWords(t *testing.T) {
	for _, word := range []string{"/tmp/a", "/tmp/a b", "it's", "$(id)", "a\nb", "`id`", `\`, "ä"} {
		if out, err := exec.Command("sh", "-c", "printf %s "+shellWord(word)).Output(); err != nil || string(out) != word {
			t.Errorf("%q is read as %q, %v", word, out, err)
		}
	}
}
