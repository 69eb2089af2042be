// Command release builds the files of a release: static programs for Linux, Debian and RPM packages,
// a software bill of materials for each program, and checksums. The same commit, version and Go
// release give the same bytes, wherever and whenever they are built.
//
// It stages the files; scripts/release/packaging/nfpm.yaml says where a package puts them.
package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringstore/ringstore/scripts/launch"
)

func main() { os.Exit(launch.Main("release", run)) }

// release is a version to build.
type release struct {
	root    string    // directory of the module
	out     string    // directory of the results
	version string    // without the leading v of its tag
	epoch   time.Time // modification time of every file
	log     io.Writer
}

// run builds a release.
func run(ctx context.Context, args []string, _, log io.Writer) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.SetOutput(log)
	out := flags.String("o", "dist", "output `directory`; its contents are deleted first")
	version := flags.String("version", "", "`version`, such as 1.2.3; default: from git describe")
	arch := flags.String("arch", "amd64,arm64", "`architectures` to build for, as Go names them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r, err := newRelease(ctx, *out, *version, log)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	for a := range strings.SplitSeq(*arch, ",") {
		if err := r.build(ctx, a); err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
	}
	return r.checksums()
}

// newRelease fills in what the command line leaves out.
func newRelease(ctx context.Context, out, version string, log io.Writer) (release, error) {
	r := release{log: log, version: strings.TrimPrefix(version, "v")}
	mod, err := output(ctx, "", "go", "env", "GOMOD")
	if err != nil {
		return r, err
	}
	r.root = filepath.Dir(mod)
	if r.out, err = filepath.Abs(out); err != nil {
		return r, err
	}
	if r.version == "" {
		if r.version, err = describe(ctx, r.root); err != nil {
			return r, err
		}
	}
	r.epoch, err = epoch(ctx, r.root)
	return r, err
}

// describe returns the version of HEAD: that of its tag, or a snapshot, which sorts after the last
// tag and before the next one.
func describe(ctx context.Context, root string) (string, error) {
	if tag, err := output(ctx, root, "git", "describe", "--tags", "--exact-match", "--match", "v[0-9]*"); err == nil {
		return strings.TrimPrefix(tag, "v"), nil
	}
	commit, err := output(ctx, root, "git", "rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "", fmt.Errorf("no git repository: set -version: %w", err)
	}
	last, err := output(ctx, root, "git", "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*")
	if err != nil {
		last = "v0.0.0"
	}
	count, err := output(ctx, root, "git", "rev-list", "--count", "HEAD")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s+%s.g%s", strings.TrimPrefix(last, "v"), count, commit), nil
}

// epoch returns the time that all files get: SOURCE_DATE_EPOCH, or the time of the commit. See
// https://reproducible-builds.org/specs/source-date-epoch.
func epoch(ctx context.Context, root string) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		var err error
		if text, err = output(ctx, root, "git", "log", "-1", "--format=%ct"); err != nil {
			return time.Time{}, fmt.Errorf("no git repository: set SOURCE_DATE_EPOCH: %w", err)
		}
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// checksums writes SHA256SUMS, which sha256sum -c reads.
func (r release) checksums() error {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, e := range entries {
		sum, err := sumOf(filepath.Join(r.out, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, e.Name())
	}
	fmt.Fprint(r.log, sums.String())
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// sumOf returns the SHA-256 of a file in hexadecimal.
func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// command runs a program in dir with additional variables. Its output goes to the log.
func (r release) command(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, r.log, r.log
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(slices.Concat([]string{name}, args), " "), err)
	}
	return nil
}

// output returns what a program prints, without surrounding white space.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(text)), nil
}
