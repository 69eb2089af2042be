package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStageDocuments stages the documents of this repository: they are complete, every relative
// link leads to a staged file, and they have the release's time.
func TestStageDocuments(t *testing.T) {
	dir := t.TempDir()
	r := release{root: filepath.Join("..", ".."), epoch: time.Unix(1_700_000_000, 0)}
	if err := r.stageDocuments(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"README.md", "CHANGELOG.md", "docs/install.md", "docs/configuration.md", "configs/config.json", "configs/alerts.yml",
		"configs/grafana-dashboard.json", "configs/grafana/datasource.yml", "configs/grafana/users-dashboard.json",
	} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || !info.ModTime().Equal(r.epoch) {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	pages, err := filepath.Glob(filepath.Join(dir, "docs", "*.md"))
	if err != nil || len(pages) < 10 {
		t.Fatalf("%q, %v", pages, err)
	}
	for _, page := range append(pages, filepath.Join(dir, "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range relativeLink.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

func TestLinkOutside(t *testing.T) {
	packaged := map[string]bool{"docs/b.md": true, "README.md": true}
	f := func(text, want string) {
		t.Helper()
		if got := linkOutside("docs/a.md", text, packaged); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	f("[b](b.md) and [top](../README.md#x)", "[b](b.md) and [top](../README.md#x)")
	f("[code](../auth/policy.go)", "[code]("+sourceURL+"auth/policy.go)")
	f("[format](../archive/FORMAT.md#journal)", "[format]("+sourceURL+"archive/FORMAT.md#journal)")
	f("[here](#x), [there](https://example.org/a)", "[here](#x), [there](https://example.org/a)")
	if strings.Contains(linkOutside("README.md", "[b](docs/b.md)", packaged), sourceURL) {
		t.Error("a link from the top leaves the package")
	}
}
