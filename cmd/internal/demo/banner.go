package demo

import (
	"errors"
	"io"
	"os"
	"os/exec"
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
	Dir                string            // where the token files are
	Program            string            // what a user types to run this program
	tokens             map[string]string // by name
}

func newBanner(s *server.Server, o Options, tokens map[string]string) banner {
	return banner{
		Style: terminal.StyleFor(o.Stdout, os.Getenv), URL: "http://" + s.Addr(), NATS: "nats://" + s.NATSAddr(),
		Subject: metricsSubject, Dir: o.Dir, Program: shellWord(callingName()), tokens: tokens,
	}
}

// Link returns the address of the web page as a principal.
func (b banner) Link(name string) string { return b.URL + "/#token=" + b.tokens[name] }

// Server returns the flag that a client needs to find the demo.
func (b banner) Server() string {
	if b.URL == "http://"+DefaultAddr {
		return ""
	}
	return " -server " + b.URL
}

// TokenFile returns the name of a principal's token file, for a shell.
func (b banner) TokenFile(name string) string {
	return shellWord(filepath.Join(b.Dir, name+tokenSuffix))
}

// shellWord quotes text for a shell if it must be.
func shellWord(text string) string {
	unsafe := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%", r))
	}
	if strings.ContainsFunc(text, unsafe) && text != goRun {
		return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
	}
	return text
}

func (b banner) print(w io.Writer) error { return bannerText.Execute(w, b) }

// goRun runs this program in its source tree.
const goRun = "go run ./cmd/ringstore"

// callingName returns what a user types to run this program again.
func callingName() string {
	const installed = "ringstore"
	self, err := os.Executable()
	if err != nil {
		return installed
	}
	if inPath, err := exec.LookPath(installed); err == nil && sameFile(inPath, self) {
		return installed
	}
	if strings.Contains(self, string(filepath.Separator)+"go-build") {
		return goRun
	}
	if wd, err := os.Getwd(); err == nil && filepath.Dir(self) == wd {
		return "." + string(filepath.Separator) + filepath.Base(self)
	}
	return self
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

var bannerText = template.Must(template.New("demo").Parse(`{{.Strong "RingStore demo"}}: 24 synthetic nodes with an hour of history, then live.

{{.Strong "Click"}}, as root, the administrator, or as ann, a user with three jobs:

  {{.Accent (.Link "root")}}
  {{.Accent (.Link "ann")}}

{{.Strong "Or type"}}. Choose who you are, of root, ann, and collector, who may write:

  {{.Accent (print "export TOKEN=$(cat " (.TokenFile "root") ")")}}
  {{.Accent (print "export TOKEN=$(cat " (.TokenFile "ann") ")")}}
  {{.Accent (print "export TOKEN=$(cat " (.TokenFile "collector") ")")}}

  {{.Accent (print .Program " query node:cpu_power:sum" .Server)}}
  {{.Accent (print .Program " top" .Server)}}
  {{.Accent (print .Program " jobs" .Server)}}
  {{.Accent (print "curl -H \"Authorization: Bearer $TOKEN\" " .URL "/api/whoami")}}

{{.Faint (print .NATS ", subject " .Subject ". The tokens end with the demo.")}}
Press Ctrl-C to stop the demo.
`))
