// Command ringstore is an in-memory metric store for HPC clusters. It wires the
// rooms of this module together, and it alone reads flags, handles signals and
// exits.
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
)

// Exit codes.
const (
	exitOK       = 0
	exitFailure  = 1
	exitBadUsage = 2 // flags, or a configuration that cannot be used
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program without the process around it: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	command := runServe
	if len(args) > 0 {
		switch args[0] {
		case "check-config":
			command, args = runCheckConfig, args[1:]
		case "estimate":
			command, args = runEstimate, args[1:]
		case "import":
			command, args = runImport, args[1:]
		case "verify":
			command, args = runVerify, args[1:]
		case "token":
			command, args = runToken, args[1:]
		case "key":
			command, args = runKey, args[1:]
		case "demo":
			command, args = runDemo, args[1:]
		}
	}
	err := command(ctx, args, stdin, stdout, stderr)
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, usage)
		return exitBadUsage
	default:
		fmt.Fprintln(stderr, "ringstore:", err)
		return exitFailure
	}
}

// usageError is what makes the program exit with 2: it was called wrongly, or
// configured wrongly. It is printed as it is.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

const usageText = `Usage: ringstore [flags]                  run the server
       ringstore check-config [-config F] check a configuration, change nothing
       ringstore estimate -hosts N        print what a site needs in memory and on disk
       ringstore import [-config F] DIR   take in a checkpoint directory of cc-metric-store
       ringstore verify [-config F]       read all that is on disk, print what is damaged, change nothing
       ringstore token [-config F] FILE|- explain what the configuration makes of a token
       ringstore key FILE|-               print an Ed25519 public key as the configuration wants it
       ringstore demo [-addr A] [-dir D]  run a server with a synthetic cluster; needs no files

Flags:
`

// newFlags returns a set of flags whose errors become usage errors. Flags may
// have one or two dashes.
func newFlags(name string, stderr io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usageText)
		flags.PrintDefaults()
	}
	return flags
}

func parseFlags(flags *flag.FlagSet, args []string, operands int) error {
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{fmt.Errorf("see ringstore -h")} // the flag set has said what was wrong
	}
	if flags.NArg() != operands {
		return usageError{fmt.Errorf("ringstore: %s takes %d operands, not %q; see ringstore -h", flags.Name(), operands, flags.Args())}
	}
	return nil
}

// release is the version that scripts/release builds. The linker sets it.
var release string

// version names this build.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return fmt.Sprintf("%s (%s)", cmp.Or(release, info.Main.Version), info.GoVersion)
}
