package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/peterbourgon/ff/v3/ffcli"

	"github.com/ringstore/ringstore/archive"
	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/cmd/internal/demo"
	"github.com/ringstore/ringstore/cmd/internal/estimate"
	"github.com/ringstore/ringstore/cmd/internal/explain"
	"github.com/ringstore/ringstore/cmd/internal/importreport"
	"github.com/ringstore/ringstore/cmd/internal/logging"
	"github.com/ringstore/ringstore/cmd/internal/setup"
	"github.com/ringstore/ringstore/configs"
)

func checkConfigCommand(std stdio) *ffcli.Command {
	var c *ffcli.Command
	c = newConfigCommand(std, "check-config", "", "check a configuration, change nothing", `
Checks a configuration file, and what it refers to: keys, certificates, users
and directories. Prints warnings, and what the server would fail on. Opens no
port and creates no file.`,
		func(ctx context.Context, cfg *configs.Config, _ []string) error {
			for _, w := range cfg.Warnings {
				fmt.Fprintln(std.err, "warning:", w)
			}
			if err := setup.Check(ctx, cfg, logging.Warnings(std.err)); err != nil {
				return err
			}
			fmt.Fprintf(std.out, "%s is good\n", c.FlagSet.Lookup("config").Value)
			return nil
		})
	return c
}

func estimateCommand(std stdio) *ffcli.Command {
	var o estimate.Options
	var flags *flag.FlagSet
	c := newConfigCommand(std, "estimate", "", "print what a site needs in memory and on disk", `
Runs the store on the values of one host, and prints what the configuration
needs in memory and on disk for all hosts. The values continue from a sample
that a collector has sent (-sample), or are made up for numbers of devices.`,
		func(ctx context.Context, cfg *configs.Config, _ []string) error {
			err := o.Check()
			flags.Visit(func(f *flag.Flag) {
				if o.Sample != "" && (f.Name == "threads" || f.Name == "sockets" || f.Name == "accelerators") {
					err = fmt.Errorf("-%s and -sample exclude each other", f.Name)
				}
			})
			if err != nil {
				return usageError{fmt.Errorf("ringstore estimate: %w", err)}
			}
			return estimate.Run(ctx, cfg, o, std.in, std.out)
		})
	flags = c.FlagSet
	flags.IntVar(&o.Hosts, "hosts", 0, "`number` of hosts (required)")
	flags.StringVar(&o.Sample, "sample", "", "`file` with one interval of one host in line protocol, - for the standard input")
	flags.IntVar(&o.Threads, "threads", 64, "`number` of hwthreads of a host, without -sample")
	flags.IntVar(&o.Sockets, "sockets", 2, "`number` of sockets of a host, without -sample")
	flags.IntVar(&o.Accelerators, "accelerators", 0, "`number` of accelerators of a host, without -sample")
	return c
}

func importCommand(std stdio) *ffcli.Command {
	return newConfigCommand(std, "import", "DIR", "import a checkpoint directory of cc-metric-store", `
Stores the samples of a checkpoint directory of cc-metric-store. The server
must be stopped. The directory stays as it is. A server that starts with an
empty checkpoint directory of its own imports by itself.`,
		func(ctx context.Context, cfg *configs.Config, operands []string) error {
			from := operands[0]
			if info, err := os.Stat(from); err != nil || !info.IsDir() {
				return errors.Join(fmt.Errorf("%s is not a directory", from), err)
			}
			a, err := setup.RestoredArchive(ctx, cfg, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			summary, err := a.Import(ctx, os.DirFS(from))
			if err := errors.Join(err, a.Close()); err != nil {
				return err
			}
			return importreport.Print(std.out, summary)
		})
}

func verifyCommand(std stdio) *ffcli.Command {
	return newConfigCommand(std, "verify", "", "check all data on disk, change nothing", `
Reads all files in the checkpoint directory and prints what is damaged, with
the position, what is missing, and what does not belong there. Exits with 1 if
there is any of this. The server must be stopped.`,
		func(ctx context.Context, cfg *configs.Config, _ []string) error {
			v, err := archive.Verify(ctx, disk.OS{}, cfg.MetricStore.Checkpoints.Directory)
			if err != nil {
				return err
			}
			for _, d := range v.Problems {
				fmt.Fprintln(std.out, d)
			}
			fmt.Fprintf(std.out, "%d files with %d blocks and %d values, %d journal records, %d problems\n",
				v.Files, v.Blocks, v.Values, v.Records, len(v.Problems))
			if len(v.Problems) > 0 {
				return fmt.Errorf("%d problems", len(v.Problems))
			}
			return nil
		})
}

func tokenCommand(std stdio) *ffcli.Command {
	var verbose *bool
	c := newConfigCommand(std, "token", "FILE", "explain whether a token is accepted and what it may do", `
Verifies the token in FILE, or on the standard input if that is -, as the
server would. FILE may also hold a whole Authorization header. Prints every
check, the key that fits, the roles, and what they permit. Exits with 1 if the
token is refused. Never prints the signature; prints only claims that
the configuration uses, unless -v is given.`,
		func(ctx context.Context, cfg *configs.Config, operands []string) error {
			if cfg.Auth.Disabled {
				return usageError{errors.New("ringstore token: authentication is disabled, so tokens are not verified")}
			}
			text, err := readKeyFile(operands[0], std.in)
			if err != nil {
				return err
			}
			return explain.Token(ctx, cfg, logging.Warnings(std.err), string(text), *verbose, std.out)
		})
	verbose = c.FlagSet.Bool("v", false, "print all claims of the token")
	return c
}

func keyCommand(std stdio) *ffcli.Command {
	c := newCommand(std, "key", "FILE", "convert an Ed25519 public key for the configuration", `
Reads an Ed25519 public key from FILE, or from the standard input if that is
-, in any common format: PEM, DER, base64, raw bytes. Prints it in the form of
main.jwt-public-key.`,
		func(_ context.Context, operands []string) error {
			raw, err := readKeyFile(operands[0], std.in)
			if err != nil {
				return err
			}
			key, format, err := auth.ParsePublicKey(raw)
			if err != nil {
				return fmt.Errorf("%s: %w", operands[0], err)
			}
			switch err := auth.CheckKey(key); {
			case errors.Is(err, auth.ErrPublishedKey):
				fmt.Fprintln(std.err, "warning:", err)
			case err != nil:
				return fmt.Errorf("%s: %w", operands[0], err)
			}
			fmt.Fprintln(std.err, "read as", format)
			fmt.Fprintln(std.out, base64.StdEncoding.EncodeToString(key))
			return nil
		})
	c.ShortUsage = "ringstore key FILE" // it has no flags
	return c
}

// maxKeyFile is more than any key or token has, in bytes.
const maxKeyFile = 1 << 20

func readKeyFile(name string, stdin io.Reader) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(stdin, maxKeyFile))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxKeyFile))
}

func demoCommand(std stdio) *ffcli.Command {
	var level *string
	o := demo.Options{Stdout: std.out, Audit: std.err, Version: version()}
	c := newCommand(std, "demo", "", "run a server with a synthetic cluster; needs no files", `
Runs a server with a synthetic cluster, users and jobs, and prints what to do
next. Needs no files and no configuration; Ctrl-C stops it.`,
		func(ctx context.Context, _ []string) error {
			log, err := newLogger(std, *level, logging.Text, false)
			if err != nil {
				return err
			}
			o.Log = log
			return demo.Run(ctx, o)
		})
	c.FlagSet.StringVar(&o.Addr, "addr", demo.DefaultAddr, "`address` of the HTTP server; port 0 is any free one")
	c.FlagSet.StringVar(&o.NATSAddr, "nats", demo.DefaultNATSAddr, "`address` of the NATS server; port 0 is any free one")
	c.FlagSet.StringVar(&o.Dir, "dir", "", "data `directory` (default a temporary one that is removed at the end)")
	c.FlagSet.BoolVar(&o.Open, "open", false, "open the web page in a browser")
	level = c.FlagSet.String("loglevel", "err", "minimum `level` to log: debug, info, warn, err or crit")
	return c
}
