package scripts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`^#+\s+(.*?)\s*#*$`)
	codeSpan = regexp.MustCompile("`[^`]*`")
)

// withoutCode blanks fenced and indented blocks and inline code, where "](" is no link and "#" no
// heading.
func withoutCode(text string) string {
	inside := false
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			inside = !inside
			lines[i] = ""
		} else if inside || strings.HasPrefix(line, "    ") {
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n")
}

// anchor is the fragment that GitHub makes of a heading: lower case, punctuation dropped, spaces to
// hyphens.
func anchor(title string) string {
	title = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`).ReplaceAllString(title, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, title)
}

func anchors(text string) map[string]bool {
	found := make(map[string]bool)
	for line := range strings.Lines(withoutCode(text)) {
		if m := heading.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			found[anchor(m[1])] = true
		}
	}
	return found
}

// markdown returns the paths of all Markdown files of the repository, relative to the root.
func markdown(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md")
	cmd.Dir = root
	out, err := cmd.Output()
	if err == nil {
		return strings.Fields(string(out))
	}
	var files []string // of a tree without git, such as a source archive
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == "node_modules" || d.Name() == "dist") {
			return filepath.SkipDir
		}
		if err == nil && strings.HasSuffix(path, ".md") {
			path, err = filepath.Rel(root, path)
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestLinks follows every relative link of every Markdown file, and its anchor.
func TestLinks(t *testing.T) {
	files, links := markdown(t), 0
	for _, file := range files {
		text := codeSpan.ReplaceAllString(withoutCode(readDocument(t, file)), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], ":") { // another site
				continue
			}
			links++
			path, fragment, _ := strings.Cut(m[1], "#")
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), path)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: %s: %v", file, m[1], err)
				continue
			}
			if fragment != "" && !anchors(readDocument(t, target))[fragment] {
				t.Errorf("%s: %s: no such heading", file, m[1])
			}
		}
	}
	if len(files) < 10 || links < 30 {
		t.Errorf("found %d files and %d links", len(files), links)
	}
}

func TestAnchors(t *testing.T) {
	got := anchors("# Why is a token refused? (401)\n## `sync` and *power*\n```\n# no\n```\n### [a link](x.md) here\n")
	for _, want := range []string{"why-is-a-token-refused-401", "sync-and-power", "a-link-here"} {
		if !got[want] {
			t.Errorf("no anchor %q in %v", want, got)
		}
	}
	if len(got) != 3 {
		t.Errorf("got %v", got)
	}
}
