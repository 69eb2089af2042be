package launch

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// InDirectory calls f with a new directory, which it removes afterwards, and with the program to run:
// the given one, or ringstore built into the directory if that is empty.
func InDirectory(ctx context.Context, name, program string, f func(dir, program string) error) (err error) {
	dir, err := os.MkdirTemp("", "ringstore-"+name+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if program == "" {
		program = filepath.Join(dir, "ringstore")
		if err := Build(ctx, program); err != nil {
			return err
		}
	}
	return f(dir, program)
}

// Serve starts a program in a directory with the file config.json there. Its output is appended to
// the file log.
func Serve(ctx context.Context, program, dir string) (*Process, error) {
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, program, "-config", "config.json")
	cmd.Dir = dir
	return Start(cmd, log)
}

// WaitReady waits until the server at a URL is ready.
func (p *Process) WaitReady(ctx context.Context, url string) error {
	for {
		r, err := http.Get(url + "/-/ready")
		if err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.Done():
			return p.Explain(errors.New("the server exited"))
		case <-time.After(2 * time.Millisecond):
		}
	}
}
