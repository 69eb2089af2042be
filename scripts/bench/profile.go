package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
)

// profiled calls f. With -profile, it writes a CPU profile of the server's first profileTime of f
// to that file.
func (b *bench) profiled(ctx context.Context, s *server, f func() error) error {
	if b.profile == "" {
		return f()
	}
	done := make(chan error, 1)
	go func() { done <- b.fetchProfile(ctx, s) }()
	if err := f(); err != nil {
		return err
	}
	return <-done
}

const profileTime = 15 // seconds

func (b *bench) fetchProfile(ctx context.Context, s *server) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", s.url, profileTime), nil)
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
	file, err := os.Create(b.profile)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, answer.Body); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}
