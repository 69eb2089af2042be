package main

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// buildEnv pins every variable with which the builder's environment could change the program.
var buildEnv = []string{
	"CGO_ENABLED=0", "GOOS=linux", "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=-mod=readonly", "GOEXPERIMENT=", "GOWORK=off", "GOFIPS140=off",
}

// build makes the program, its bill of materials and its packages for one architecture.
func (r release) build(ctx context.Context, arch string) error {
	name := fmt.Sprintf("ringstore-%s-linux-%s", r.version, arch)
	program := filepath.Join(r.out, name)
	// The version names the commit. With -buildvcs, files that git does not track would also change the program.
	err := r.command(ctx, r.root, append(buildEnv, "GOARCH="+arch), "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X main.release="+r.version, "-o", program, "./cmd/ringstore")
	if err != nil {
		return err
	}
	materials := program + ".cdx.json"
	if err := r.writeMaterials(materials, program); err != nil {
		return err
	}
	stage, err := os.MkdirTemp("", "ringstore-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	if err := r.stage(stage, program, materials); err != nil {
		return err
	}
	return r.packages(ctx, stage, arch)
}

// stage copies the files that nfpm.yaml names to one directory.
func (r release) stage(dir, program, materials string) error {
	in := func(path string) string { return filepath.Join(r.root, path) }
	for name, from := range map[string]string{
		"ringstore":         program,
		"sbom.cdx.json":     materials,
		"nfpm.yaml":         in("scripts/release/packaging/nfpm.yaml"),
		"config.json":       in("scripts/release/packaging/config.json"),
		"environment":       in("scripts/release/packaging/environment"),
		"postinst":          in("scripts/release/packaging/postinst"),
		"prerm":             in("scripts/release/packaging/prerm"),
		"postrm":            in("scripts/release/packaging/postrm"),
		"logrotate":         in("scripts/release/packaging/logrotate"),
		"ringstore.bash":    in("scripts/release/packaging/completion/ringstore.bash"),
		"ringstore.fish":    in("scripts/release/packaging/completion/ringstore.fish"),
		"_ringstore":        in("scripts/release/packaging/completion/_ringstore"),
		"ringstore.service": in("configs/ringstore.service"),
		"LICENSE":           in("LICENSE"),
	} {
		if err := r.copy(filepath.Join(dir, name), from, uncompressed); err != nil {
			return err
		}
	}
	if err := r.stageDocuments(filepath.Join(dir, "doc")); err != nil {
		return err
	}
	return r.copy(filepath.Join(dir, "ringstore.8.gz"), in("scripts/release/packaging/ringstore.8"), func(w io.Writer) io.WriteCloser {
		return gzip.NewWriter(w) // with a header that has no time and no name
	})
}

func uncompressed(w io.Writer) io.WriteCloser { return nopCloser{w} }

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// copy copies a file through a filter, and gives it the release's time.
func (r release) copy(to, from string, filter func(io.Writer) io.WriteCloser) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	w := filter(dst)
	if _, err := io.Copy(w, src); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := dst.Close(); err != nil {
		return err
	}
	return os.Chtimes(to, r.epoch, r.epoch)
}

// packages has nfpm make a deb and an rpm of the staged files.
func (r release) packages(ctx context.Context, stage, arch string) error {
	nfpm, err := output(ctx, r.root, "go", "tool", "-modfile=scripts/release/packaging/nfpm.mod", "-n", "nfpm")
	if err != nil {
		return err
	}
	env := []string{"ARCH=" + arch, "VERSION=" + r.version, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.epoch.Unix())}
	for _, kind := range []string{"deb", "rpm"} {
		if err := r.command(ctx, stage, env, nfpm, "package", "--config", "nfpm.yaml", "--packager", kind, "--target", r.out); err != nil {
			return err
		}
	}
	return nil
}
