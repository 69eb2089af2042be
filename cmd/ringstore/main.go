// Command ringstore is an in-memory metric store for HPC clusters. It parses flags, dispatches
// commands, handles signals and sets the exit code; nothing else in this module does. What the
// commands do is in cmd/internal.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/ringstore/ringstore/cmd/internal/logging"
	"github.com/ringstore/ringstore/cmd/internal/setup"
)

// Exit codes. The systemd unit does not restart the program after exitBadUsage.
const (
	exitOK       = 0
	exitFailure  = 1
	exitBadUsage = 2 // wrong flags, or an unusable configuration
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs the program without a process of its own and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	err := dispatch(ctx, args, stdio{stdin, stdout, stderr})
	printed := logging.Redacted(stderr)
	usage, isUsage := errors.AsType[usageError](err)
	config, isConfig := errors.AsType[setup.ConfigError](err)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case isUsage:
		fmt.Fprintln(printed, usage)
		return exitBadUsage
	case isConfig:
		fmt.Fprintln(printed, config)
		return exitBadUsage
	default:
		fmt.Fprintln(printed, "ringstore:", err)
		return exitFailure
	}
}

// stdio is the standard input and output of a command.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// usageError says that the program was called wrongly.
type usageError struct{ error }

// release is the version that scripts/release builds. The linker sets it.
var release string

// version returns the version of the program and of Go.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return fmt.Sprintf("%s (%s)", cmp.Or(release, info.Main.Version), info.GoVersion)
}
