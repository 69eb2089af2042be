package scripts_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/ringstore/ringstore/"

// directories of code at the top level, and what packages below each may import of this module
// besides their own directory. A longer path overrides the rule of its directory.
var mayImport = map[string][]string{
	"cmd":      {"api", "archive", "auth", "configs", "memstore"},
	"api":      {"auth", "memstore"},
	"archive":  {"memstore"},
	"auth":     {"configs/secureurl", "configs/smallfile", "memstore/binfmt"},
	"configs":  {},
	"memstore": {},
	"scripts":  {"memstore/synthetic"},

	"memstore/block": {"memstore/binfmt", "memstore/codec", "memstore/unixtime"},
	"memstore/codec": {},
	"auth/jwk":       {"auth/internal"},
	"auth/ticker":    {},
}

// mayNotImport are packages from elsewhere that a directory must do without.
var mayNotImport = map[string][]string{
	"memstore": {"log", "log/slog", "net", "net/http", "os", "github.com/prometheus", "github.com/nats-io"},
	"archive":  {"log", "github.com/nats-io"},
	"auth":     {"log", "github.com/nats-io", "github.com/gorilla/mux"},
	"configs":  {"log", "log/slog", "github.com/prometheus"},
}

// pkg is a package without its tests.
type pkg struct {
	dir     string // below the root, with slashes
	imports []string
	inits   []string // positions of functions called init
	exits   []string // positions of calls of os.Exit or log.Fatal
	roles   []string // positions where a role of package auth is named
}

// readPackages parses all Go files below root that are not tests.
func readPackages(t *testing.T, root string) []pkg {
	t.Helper()
	byDir := make(map[string]*pkg)
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || name != root && strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		dir = filepath.ToSlash(dir)
		if byDir[dir] == nil {
			byDir[dir] = &pkg{dir: dir}
		}
		byDir[dir].add(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for _, p := range byDir {
		all = append(all, *p)
	}
	slices.SortFunc(all, func(a, b pkg) int { return strings.Compare(a.dir, b.dir) })
	return all
}

func (p *pkg) add(files *token.FileSet, f *ast.File) {
	for _, i := range f.Imports {
		if name, err := strconv.Unquote(i.Path.Value); err == nil {
			p.imports = append(p.imports, name)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				p.inits = append(p.inits, files.Position(n.Pos()).String())
			}
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if ok && (x.Name == "os" && n.Sel.Name == "Exit" || x.Name == "log" && strings.HasPrefix(n.Sel.Name, "Fatal")) {
				p.exits = append(p.exits, files.Position(n.Pos()).String())
			}
			if ok && x.Name == "auth" && slices.Contains([]string{"Admin", "API", "Support", "Manager", "User"}, n.Sel.Name) {
				p.roles = append(p.roles, files.Position(n.Pos()).String())
			}
		}
		return true
	})
}

// isBelow tells whether a package path is dir or stands below it.
func isBelow(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// checkImports returns what is wrong with a package's imports.
func checkImports(p pkg) (problems []string) {
	rule := p.dir
	for mayImport[rule] == nil && path.Dir(rule) != "." {
		rule = path.Dir(rule)
	}
	allowed, ok := mayImport[rule]
	if !ok {
		return []string{fmt.Sprintf("%s: no rule says what packages here may import", p.dir)}
	}
	if !strings.Contains(rule, "/") {
		allowed = append(slices.Clone(allowed), rule) // its own directory
	}
	for _, name := range p.imports {
		if ours, ok := strings.CutPrefix(name, module); ok {
			if !slices.ContainsFunc(allowed, func(dir string) bool { return isBelow(ours, dir) }) {
				problems = append(problems, fmt.Sprintf("%s imports %s; it may import %s", p.dir, ours, strings.Join(allowed, ", ")))
			}
			continue
		}
		top, _, _ := strings.Cut(p.dir, "/")
		if slices.ContainsFunc(mayNotImport[top], func(other string) bool { return name == other || strings.Contains(other, ".") && isBelow(name, other) }) {
			problems = append(problems, fmt.Sprintf("%s imports %s, which packages of %s do without", p.dir, name, top))
		}
	}
	return problems
}

// Imports run one way, as docs/architecture.md draws them.
func TestImportDirections(t *testing.T) {
	for _, p := range readPackages(t, "..") {
		for _, problem := range checkImports(p) {
			t.Error(problem)
		}
	}
}

// The rules refuse each direction that is against the layout.
func TestForbiddenImportsAreFound(t *testing.T) {
	f := func(dir, name string, forbidden bool) {
		t.Helper()
		if problems := checkImports(pkg{dir: dir, imports: []string{name}}); (len(problems) > 0) != forbidden {
			t.Errorf("%s importing %s: %q", dir, name, problems)
		}
	}
	f("auth", module+"archive", true)
	f("auth/jobs", module+"archive/disk", true)
	f("auth/source", module+"api/rest", true)
	f("auth/keyring", module+"configs", true)
	f("auth/keyring", module+"auth/jwk", false)
	f("auth/jwk", module+"auth", true)
	f("api/rest", module+"archive", true)
	f("api/rest", module+"configs", true)
	f("api/rest", module+"cmd/internal/server", true)
	f("api/rest", module+"memstore", false)
	f("archive", module+"auth", true)
	f("archive/journal", module+"api/ingest", true)
	f("archive/journal", "log/slog", false)
	f("memstore", module+"archive", true)
	f("memstore", "log/slog", true)
	f("memstore", "github.com/prometheus/client_golang/prometheus", true)
	f("memstore/codec", module+"memstore", true)
	f("configs", module+"memstore", true)
	f("cmd/ringstore", module+"archive", false)
	f("util", "fmt", true)
}

// The top level has the directories of the layout and no other.
func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"api", "archive", "auth", "cmd", "configs", "docs", "memstore", "scripts"}
	var got []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "dist" {
			got = append(got, e.Name())
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the top level has %q, want %q", got, want)
	}
}

// Only the program's main package and the scripts end the process, nothing runs at initialisation.
func TestNoExitsAndNoInit(t *testing.T) {
	for _, p := range readPackages(t, "..") {
		if len(p.inits) > 0 {
			t.Errorf("init functions: %q", p.inits)
		}
		if len(p.exits) > 0 && p.dir != "cmd/ringstore" && !isBelow(p.dir, "scripts") {
			t.Errorf("%s ends the process: %q", p.dir, p.exits)
		}
	}
}

// Only package auth decides by roles, in policy.go: no other package names one. Package authtest and
// the demo make tokens with roles.
func TestOnlyAuthDecidesByRoles(t *testing.T) {
	for _, p := range readPackages(t, "..") {
		if len(p.roles) > 0 {
			t.Errorf("%s names a role; ask auth.Policy: %q", p.dir, p.roles)
		}
	}
}

// Package main is thin: what it does is in packages that can be tested and read alone.
func TestMainIsThin(t *testing.T) {
	const maxLines = 600
	files, err := filepath.Glob("../cmd/ringstore/*.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines += strings.Count(string(text), "\n")
	}
	if lines == 0 || lines > maxLines {
		t.Errorf("package main has %d lines, want at most %d", lines, maxLines)
	}
}
