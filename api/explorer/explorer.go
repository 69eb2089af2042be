// Package explorer serves a web page that shows the stored metrics: clusters, hosts, jobs and
// queries. The page is the ES modules below web, as they are. It talks to the same API as any other
// client, with a token that the browser keeps for the tab only; this package answers files and
// knows no data.
//
// Lines are drawn by uPlot (MIT, https://github.com/leeoniya/uPlot). Its files come out of the Go
// module github.com/tsenart/vegeta/v12, which embeds them, so that none is in this tree.
package explorer

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/tsenart/vegeta/v12/lib/plot"
)

//go:embed web
var web embed.FS

// The paths that a [Page] answers: the page itself, and the prefix of its files.
const (
	Path       = "/"
	FilePrefix = "/explorer"
)

// fromUPlot maps files of the page to assets of the module that embeds uPlot.
var fromUPlot = map[string]string{"uplot.js": "uPlot.min.js", "uplot.css": "uPlot.min.css"}

// contentTypes are the types of the page's files, by extension. The types that a machine has
// configured do not matter.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// securityHeaders are sent with every file. The policy allows nothing but our own files and API,
// and no way to turn text into HTML or code.
var securityHeaders = [][2]string{
	{"Content-Security-Policy", "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; " +
		"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"Referrer-Policy", "no-referrer"},
	{"X-Frame-Options", "DENY"},
}

// file is one file of the page.
type file struct {
	contentType string
	plain       []byte
	gzipped     func() []byte // compresses at the first call
	tag         string        // its hash, the stem of its entity tags
}

// Page is the web page. It is safe for concurrent use.
type Page struct {
	files map[string]file // by name below [FilePrefix]
}

// New reads the files of the page.
func New() (*Page, error) {
	p := &Page{files: make(map[string]file)}
	root, err := fs.Sub(web, "web")
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		return p.add(name, content)
	})
	if err != nil {
		return nil, err
	}
	for name, asset := range fromUPlot {
		content, err := readUPlot(asset)
		if err != nil {
			return nil, fmt.Errorf("explorer: uPlot: %w", err)
		}
		if err := p.add(name, content); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func readUPlot(asset string) ([]byte, error) {
	f, err := plot.Assets.Open(asset)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func (p *Page) add(name string, content []byte) error {
	contentType, ok := contentTypes[path.Ext(name)]
	if !ok {
		return fmt.Errorf("explorer: %s: no content type is known for this extension", name)
	}
	hash := sha256.Sum256(content)
	gzipped := sync.OnceValue(func() []byte { return compress(content) })
	p.files[name] = file{contentType, content, gzipped, base64.RawURLEncoding.EncodeToString(hash[:12])}
	return nil
}

func compress(content []byte) []byte {
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // the level exists
	_, _ = w.Write(content)                                    // a buffer takes everything
	_ = w.Close()
	return packed.Bytes()
}

// ServeHTTP answers the page at [Path] and its files below [FilePrefix].
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := "index.html"
	if r.URL.Path != Path {
		name = strings.TrimPrefix(r.URL.Path, FilePrefix+"/")
	}
	f, ok := p.files[name]
	if !ok || name == "index.html" && r.URL.Path != Path {
		http.NotFound(w, r)
		return
	}
	f.serve(w, r)
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for _, s := range securityHeaders {
		h.Set(s[0], s[1])
	}
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", "no-cache") // kept by the browser, but asked for again: a new version is used at once
	h.Set("Vary", "Accept-Encoding")
	body, tag := f.plain, `"`+f.tag+`"`
	if acceptsGzip(r.Header.Values("Accept-Encoding")) {
		body, tag = f.gzipped(), `"`+f.tag+`-gzip"`
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Etag", tag)
	if matches(r.Header.Values("If-None-Match"), tag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// acceptsGzip reports whether a client accepts the coding gzip (RFC 9110, section 12.5.3).
func acceptsGzip(values []string) bool {
	for _, v := range values {
		for coding := range strings.SplitSeq(v, ",") {
			name, parameter, _ := strings.Cut(coding, ";")
			if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
				continue
			}
			weight, found := strings.CutPrefix(strings.TrimSpace(parameter), "q=")
			q, err := strconv.ParseFloat(weight, 64)
			return !found || err == nil && q > 0
		}
	}
	return false
}

// matches reports whether an entity tag is in If-None-Match (RFC 9110, section 13.1.2).
func matches(values []string, tag string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			t = strings.TrimPrefix(strings.TrimSpace(t), "W/")
			if t == tag || t == "*" {
				return true
			}
		}
	}
	return false
}
