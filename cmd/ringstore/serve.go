package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/google/gops/agent"
	"github.com/peterbourgon/ff/v3/ffcli"

	"github.com/ringstore/ringstore/cmd/internal/logging"
	"github.com/ringstore/ringstore/cmd/internal/server"
	"github.com/ringstore/ringstore/cmd/internal/setup"
	"github.com/ringstore/ringstore/configs"
)

// serverFlags are the flags without a command. They include those of cc-metric-store.
type serverFlags struct {
	config, level, format           string
	date, dev, gops, clean, version bool
}

// serverCommand is the root command, which runs the server.
func serverCommand(std stdio) *ffcli.Command {
	var f serverFlags
	root := newCommand(std, "", "", "run the server", "", nil)
	root.ShortUsage, root.UsageFunc = "ringstore [flags]", rootHelp
	root.Exec = func(ctx context.Context, args []string) error {
		if len(args) > 0 {
			return unknownCommand(root, args[0])
		}
		return f.run(ctx, std)
	}
	flags := root.FlagSet
	flags.StringVar(&f.config, "config", defaultConfig, "configuration `file`")
	flags.StringVar(&f.level, "loglevel", "info", "minimum `level` to log: debug, info, warn, err or crit")
	flags.StringVar(&f.format, "logformat", "", "`format` of log lines: text or json (default text on a terminal, else json)")
	flags.BoolVar(&f.date, "logdate", false, "add the date and time to text log lines")
	flags.BoolVar(&f.dev, "dev", false, "for development: log at level debug, and serve a user interface of the HTTP API at /swagger/")
	flags.BoolVar(&f.gops, "gops", false, "listen for github.com/google/gops on loopback")
	flags.BoolVar(&f.clean, "cleanup-checkpoints", false, "remove expired samples from the checkpoints, and exit")
	flags.BoolVar(&f.version, "version", false, "print the version and exit")
	return root
}

// gopsAddress is never another: the agent asks for no token.
const gopsAddress = "127.0.0.1:0"

// run runs the server until ctx ends, or does what else the flags ask for.
func (f *serverFlags) run(ctx context.Context, std stdio) error {
	if f.version {
		fmt.Fprintln(std.out, "ringstore", version())
		return nil
	}
	if f.dev {
		f.level = "debug"
	}
	log, err := newLogger(std, f.level, f.format, f.date)
	if err != nil {
		return err
	}
	cfg, err := loadConfig(f.config)
	if err != nil {
		return err
	}
	if f.clean {
		return cleanCheckpoints(ctx, cfg, log)
	}
	server.Harden(log)
	if f.gops || cfg.Main.Debug.Gops {
		if err := agent.Listen(agent.Options{Addr: gopsAddress}); err != nil {
			return fmt.Errorf("gops: %w", err)
		}
		log.Warn("every user of this machine can profile this process through gops, without a token")
		defer agent.Close()
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	o := server.Options{Config: cfg, Log: log, Audit: std.err, Version: version(), SwaggerUI: f.dev}
	return server.Run(ctx, o, reload, f.config)
}

// cleanCheckpoints removes windows that are older than the retention and not needed by a job, or
// moves them to the Parquet archive if there is one.
func cleanCheckpoints(ctx context.Context, cfg *configs.Config, log *slog.Logger) error {
	a, err := setup.RestoredArchive(ctx, cfg, log)
	if err != nil {
		return err
	}
	return errors.Join(a.Checkpoint(), a.Cleanup(ctx, true), a.Close())
}

func newLogger(std stdio, level, format string, date bool) (*slog.Logger, error) {
	log, err := logging.New(std.err, level, format, date)
	if err != nil {
		return nil, usageError{fmt.Errorf("ringstore: %w", err)}
	}
	return log, nil
}

// defaultConfig is the configuration file that is read without -config.
const defaultConfig = "./config.json"

// loadConfig is [setup.Load] with advice for who has no configuration yet and names none.
func loadConfig(file string) (*configs.Config, error) {
	cfg, err := setup.Load(file)
	if _, missing := os.Stat(file); file == defaultConfig && errors.Is(missing, fs.ErrNotExist) {
		err = setup.ConfigError{Err: fmt.Errorf(
			"%w\nTo try RingStore without a configuration, run: ringstore demo\nTo write a configuration, see docs/install.md", err)}
	}
	return cfg, err
}
