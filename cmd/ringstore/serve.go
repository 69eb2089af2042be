package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/google/gops/agent"

	"github.com/ringstore/ringstore/configs"
)

// runServe runs the server until ctx ends, which is how it is told to stop.
func runServe(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	flags := newFlags("ringstore", stderr)
	config := flags.String("config", "./config.json", "configuration `file`")
	level := flags.String("loglevel", "info", "least `level` to log: debug, info, warn, err or crit")
	format := flags.String("logformat", "", "`form` of log lines: text or json; without it text on a terminal, else json")
	date := flags.Bool("logdate", false, "put the date and time before each log line that is text")
	dev := flags.Bool("dev", false, "development: log as if -loglevel were debug, and serve a user interface of the HTTP API at /swagger/")
	gops := flags.Bool("gops", false, "listen for github.com/google/gops on loopback")
	cleanup := flags.Bool("cleanup-checkpoints", false, "drop from the checkpoints what is older than the retention, and exit")
	showVersion := flags.Bool("version", false, "print the version and exit")
	if err := parseFlags(flags, args, 0); err != nil {
		return err
	}
	if *showVersion {
		fmt.Fprintln(stdout, "ringstore", version())
		return nil
	}
	if *dev {
		*level = "debug"
	}
	log, err := newLogger(stderr, *level, *format, *date)
	if err != nil {
		return usageError{err}
	}
	cfg, err := loadConfig(*config)
	if err != nil {
		return err
	}
	if *cleanup {
		return cleanCheckpoints(ctx, cfg, log)
	}
	if *gops || cfg.Main.Debug.Gops {
		if err := agent.Listen(agent.Options{ConfigDir: ""}); err != nil {
			return fmt.Errorf("gops: %w", err)
		}
		defer agent.Close()
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	s, err := start(ctx, cfg, log, stderr, func(s *service) { s.dev = *dev })
	if err != nil {
		if ctx.Err() != nil {
			log.Info("told to stop while starting")
			return nil
		}
		return err
	}
	err = s.wait(ctx, hup, *config)
	log.Info("stopping")
	if stopErr := stopWithin(stopTime, s.stop); stopErr != nil {
		return stopErr
	}
	return err
}

// loadConfig reads a configuration and refuses one that cannot be used.
func loadConfig(file string) (*configs.Config, error) {
	cfg, err := configs.Load(file)
	if err != nil {
		return nil, usageError{err}
	}
	if err := checkTrust(cfg); err != nil { // such as a weak key
		return nil, usageError{fmt.Errorf("%s: %w", file, err)}
	}
	return cfg, nil
}

// configured reads the arguments of a command and loads the configuration that
// they name.
func configured(flags *flag.FlagSet, args []string, operands int) (*configs.Config, error) {
	file := flags.String("config", "./config.json", "configuration `file`")
	if err := parseFlags(flags, args, operands); err != nil {
		return nil, err
	}
	return loadConfig(*file)
}

// runCheckConfig checks a configuration and prints what is wrong or odd.
func runCheckConfig(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	flags := newFlags("check-config", stderr)
	cfg, err := configured(flags, args, 0)
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintln(stderr, "warning:", w)
	}
	if !cfg.Auth.Disabled {
		trust, err := openTrust(ctx, cfg, warnings(stderr))
		if err != nil {
			return err
		}
		if err := trust.close(); err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "%s is good\n", flags.Lookup("config").Value)
	return nil
}
