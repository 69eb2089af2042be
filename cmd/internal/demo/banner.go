package demo

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/ringstore/ringstore/cmd/internal/server"
	"github.com/ringstore/ringstore/cmd/internal/terminal"
)

// writeTokens writes the tokens of people into a directory, for its owner only.
func writeTokens(dir string, tokens map[string]string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var errs []error
	for name, token := range tokens {
		errs = append(errs, os.WriteFile(filepath.Join(dir, name+tokenSuffix), []byte(token+"\n"), 0o600))
	}
	return errors.Join(errs...)
}

const tokenSuffix = ".token"

// banner is what the demo prints: one screen.
type banner struct {
	terminal.Style
	URL, NATS, Subject string
	Dir                string // where the token files are
}

func newBanner(s *server.Server, o Options) banner {
	return banner{
		Style: terminal.StyleFor(o.Stdout, os.Getenv), URL: "http://" + s.Addr(), NATS: "nats://" + s.NATSAddr(),
		Subject: metricsSubject, Dir: o.Dir,
	}
}

// TokenFile returns the name of a principal's token file, for a shell.
func (b banner) TokenFile(name string) string {
	path := filepath.Join(b.Dir, name+tokenSuffix)
	if strings.ContainsFunc(path, unsafeInShell) {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

func unsafeInShell(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%", r))
}

func (b banner) print(w io.Writer) error { return bannerText.Execute(w, b) }

var bannerText = template.Must(template.New("demo").Parse(`{{.Strong "RingStore demo"}}: a cluster of 24 synthetic nodes with an hour of history, and new samples every 5 s.

{{.Strong "Choose who you are"}}: ann, a user with three jobs; root, the administrator; or collector, who may write.

  {{.Accent (print "export TOKEN=$(cat " (.TokenFile "ann") ")")}}
  {{.Accent (print "export TOKEN=$(cat " (.TokenFile "root") ")")}}
  {{.Accent (print "export TOKEN=$(cat " (.TokenFile "collector") ")")}}

{{.Strong "Ask"}}: who am I, which jobs are mine, the power of each node that I may see.

  {{.Accent (print "curl -sH \"Authorization: Bearer $TOKEN\" " .URL "/api/whoami")}}
  {{.Accent (print "curl -sH \"Authorization: Bearer $TOKEN\" " .URL "/api/jobs")}}
  {{.Accent (print "curl -sH \"Authorization: Bearer $TOKEN\" " .URL "/api/v1/query -d query=node:cpu_power:sum")}}

{{.Strong "Write"}} a sample, as collector:

  {{.Accent (print "curl -sH \"Authorization: Bearer $TOKEN\" " .URL "/api/write/ -d cpu_load,cluster=demo,hostname=laptop\\ value=1")}}

{{.Faint (print "NATS: " .NATS ", subject " .Subject)}}
{{.Faint "The tokens are valid for 24 hours or until the demo stops."}}
Press Ctrl-C to stop the demo.
`))
