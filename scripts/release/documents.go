package main

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// packagedDocuments are the files of the documentation directory of a package, as patterns relative
// to the root of the module. They keep their places relative to each other, so that links between
// them work.
var packagedDocuments = []string{
	"README.md", "CHANGELOG.md", "SECURITY.md", "docs/*.md", "configs/*.json", "configs/alerts.yml",
	"configs/grafana/*",
}

// sourceURL is where links lead to that leave the package.
const sourceURL = "https://github.com/ringstore/ringstore/blob/main/"

// relativeLink is the target of a Markdown link to a file of the repository.
var relativeLink = regexp.MustCompile(`\]\(([^):#\s]+)(#[^)\s]*)?\)`)

// stageDocuments copies the documents to dir. Links to files that are not packaged become URLs.
func (r release) stageDocuments(dir string) error {
	packaged := make(map[string]bool)
	for _, pattern := range packagedDocuments {
		files, err := filepath.Glob(filepath.Join(r.root, pattern))
		if err != nil {
			return err
		}
		for _, f := range files {
			name, err := filepath.Rel(r.root, f)
			if err != nil {
				return err
			}
			packaged[filepath.ToSlash(name)] = true
		}
	}
	for name := range packaged {
		data, err := os.ReadFile(filepath.Join(r.root, name))
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, ".md") {
			data = []byte(linkOutside(name, string(data), packaged))
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			return err
		}
		if err := os.Chtimes(to, r.epoch, r.epoch); err != nil {
			return err
		}
	}
	return nil
}

// linkOutside makes a URL of each relative link of a document whose target is not packaged.
func linkOutside(name, text string, packaged map[string]bool) string {
	return relativeLink.ReplaceAllStringFunc(text, func(link string) string {
		m := relativeLink.FindStringSubmatch(link)
		target := path.Join(path.Dir(name), m[1])
		if packaged[target] {
			return link
		}
		return "](" + sourceURL + target + m[2] + ")"
	})
}
