// Package launch is shared by the commands in scripts: it runs a command's main function, builds
// ringstore, and starts and stops servers as separate processes.
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

// Main runs a command and returns its exit code, 1 after an error. It prints the error to stderr,
// prefixed with name. SIGINT and SIGTERM cancel the context.
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

// Build builds ringstore from the module of the working directory.
func Build(ctx context.Context, file string) error {
	build := exec.CommandContext(ctx, "go", "build", "-o", file, "github.com/ringstore/ringstore/cmd/ringstore")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building ringstore: %w\n%s", err, out)
	}
	return nil
}

// FreeAddr returns a loopback address with a port that is currently unused.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Process is a started program.
type Process struct {
	cmd  *exec.Cmd
	log  string // file with its output
	done chan struct{}
	err  error // result of Wait, set before done is closed
}

// Start starts a command with its output in a file. The caller may close the file afterwards.
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

// PID returns the process ID, also after the process has ended.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log returns the name of the file with the output.
func (p *Process) Log() string { return p.log }

// Done returns a channel that is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns why the process ended, nil for exit code 0. Call it only after Done is closed.
func (p *Process) Err() error { return p.err }

// Signal sends a signal. It does nothing if the process has ended.
func (p *Process) Signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// Kill sends SIGKILL and waits until the process has ended.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Explain adds the end of the output to an error.
func (p *Process) Explain(err error) error {
	const maxBytes = 4000
	text, readErr := os.ReadFile(p.log)
	if readErr != nil {
		return err
	}
	return fmt.Errorf("%w; output:\n%s", err, bytes.TrimSpace(text[max(0, len(text)-maxBytes):]))
}
