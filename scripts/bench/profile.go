package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// profiled calls f. With -profile, it writes a CPU profile of the server's first seconds of f to
// that file.
func (b *bench) profiled(ctx context.Context, s *server, f func() error) error {
	if b.profile == "" {
		return f()
	}
	done := make(chan error, 1)
	go func() { done <- b.fetchProfile(ctx, s, loadProfile, b.profile) }()
	if err := f(); err != nil {
		return err
	}
	return <-done
}

// profileQuestion repeats a question, and writes a CPU profile of the server in that time to a file
// named for the question and for -profile.
func (q *queried) profileQuestion(ctx context.Context, c question) error {
	done := make(chan error, 1)
	go func() {
		file := strings.ReplaceAll(c.name, " ", "-") + "." + filepath.Base(q.profile)
		done <- q.fetchProfile(ctx, q.server, questionProfile, filepath.Join(filepath.Dir(q.profile), file))
	}()
	for {
		select {
		case err := <-done:
			return err
		default:
		}
		if err := q.askAndDiscard(ctx, q.url, c.body); err != nil {
			return err
		}
	}
}

// How long the load and each question are profiled, in seconds.
const (
	loadProfile     = 15
	questionProfile = 5
)

func (b *bench) fetchProfile(ctx context.Context, s *server, seconds int, path string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", s.url, seconds), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+b.token)
	answer, err := b.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s", answer.Status)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, answer.Body); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}
