package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/api/rest/resttest"
)

func TestMain(m *testing.M) {
	if os.Getenv(asFlood) != "" {
		if err := floodMain(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "flood:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(removingBuild{resttest.Suite{M: m, Contract: contract()}})
}

// removingBuild removes the program after the tests.
type removingBuild struct{ tests goleak.TestingM }

func (c removingBuild) Run() int {
	code := c.tests.Run()
	if buildDir != "" {
		if err := os.RemoveAll(buildDir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	return code
}

// contract is what every answer over HTTP must conform to.
var contract = sync.OnceValue(func() *resttest.Contract {
	c, err := resttest.ReadContract("../../api/rest/openapi.json")
	if err != nil {
		panic(err)
	}
	return c
})

// buildDir is the temporary directory of the program, empty before it is built.
var buildDir string

// build builds the program, with the race detector if the tests have it, and returns its path.
var build = sync.OnceValues(func() (string, error) {
	const source = "../ringstore"
	// A cached test result depends only on files that the test itself has looked at.
	files, err := filepath.Glob(filepath.Join(source, "*.go"))
	for _, f := range files {
		_, statErr := os.Stat(f)
		err = errors.Join(err, statErr)
	}
	if err != nil {
		return "", err
	}
	if buildDir, err = os.MkdirTemp("", "ringstore-e2e-"); err != nil {
		return "", err
	}
	if err := os.Chmod(buildDir, 0o755); err != nil { // other users start the program too
		return "", err
	}
	path := filepath.Join(buildDir, "ringstore")
	args := append([]string{"build", "-o", path}, buildFlags...)
	if out, err := exec.Command("go", append(args, source)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// binary returns the path of the program.
func binary(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
