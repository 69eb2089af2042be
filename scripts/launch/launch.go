// Package launch is what the commands of scripts have in common: how they begin
// and end, and how they build a server and run it as a process of its own. It
// knows no request and no configuration.
package launch

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// Main runs a command, whose context ends when it is told to stop, and returns
// its exit code: 1 with an error, which goes to stderr behind the command's name.
func Main(name string, run func(ctx context.Context, args []string, stdout, stderr io.Writer) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	return 1
}

// Build builds ringstore, from the module that the working directory is in, to a
// file.
func Build(ctx context.Context, file string) error {
	build := exec.CommandContext(ctx, "go", "build", "-o", file, "github.com/ringstore/ringstore/cmd/ringstore")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building ringstore: %w\n%s", err, out)
	}
	return nil
}

// FreeAddr returns an address of loopback whose port nobody has at the moment.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Process is a program that was started.
type Process struct {
	cmd  *exec.Cmd
	log  string // file with what it prints
	done chan struct{}
	err  error // how it ended, once done is closed
}

// Start starts a command that prints to a file, which may be closed after that.
func Start(cmd *exec.Cmd, log *os.File) (*Process, error) {
	p := &Process{cmd: cmd, log: log.Name(), done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	return p, nil
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log is the name of the file with what it prints.
func (p *Process) Log() string { return p.log }

// Done is closed when it has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err tells how it ended. It is for use after Done.
func (p *Process) Err() error { return p.err }

// Signal sends it a signal. That it has ended already is no error.
func (p *Process) Signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// Kill is kill -9, and returns when it has ended, as it may have before.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Explain adds the end of what it printed to an error.
func (p *Process) Explain(err error) error {
	const most = 4000
	text, readErr := os.ReadFile(p.log)
	if readErr != nil {
		return err
	}
	return fmt.Errorf("%w; it printed:\n%s", err, bytes.TrimSpace(text[max(0, len(text)-most):]))
}
