package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/peterbourgon/ff/v3/ffcli"

	"github.com/ringstore/ringstore/configs"
)

// dispatch parses the arguments and runs the command that they name. Without a command it runs the
// server.
func dispatch(ctx context.Context, args []string, std stdio) error {
	root := serverCommand(std)
	root.Subcommands = []*ffcli.Command{
		checkConfigCommand(std), estimateCommand(std), importCommand(std), verifyCommand(std),
		tokenCommand(std), keyCommand(std), demoCommand(std),
	}
	root.Subcommands = append(append(root.Subcommands, clientCommands(std)...), helpCommand(std, root))
	if err := root.Parse(args); err != nil {
		return parseError(err, calledName(root))
	}
	if name := root.FlagSet.Arg(0); root.FlagSet.NFlag() > 0 && subcommand(root, name) != nil {
		return usageError{fmt.Errorf("ringstore: flags of a command follow its name; see ringstore %s -h", name)}
	}
	return root.Run(ctx)
}

// parseError is the error of flags that package flag could not parse, and has printed.
func parseError(err error, called string) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	return usageError{fmt.Errorf("see %s -h", called)}
}

// newCommand returns a command whose help is its usage line, its description and its flags.
// operands names what must follow the flags, such as "FILE"; exec gets as many.
func newCommand(std stdio, name, operands, short, long string, exec func(ctx context.Context, operands []string) error) *ffcli.Command {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(std.err)
	c := &ffcli.Command{Name: name, ShortHelp: short, LongHelp: long, FlagSet: flags, UsageFunc: commandHelp}
	c.ShortUsage = strings.TrimSpace("ringstore " + name + " [flags] " + operands)
	want := len(strings.Fields(operands))
	c.Exec = func(ctx context.Context, args []string) error {
		if len(args) > want && strings.HasPrefix(args[want], "-") { // flags after the operands
			operands := args[:want]
			if err := flags.Parse(args[want:]); err != nil {
				return parseError(err, "ringstore "+name)
			}
			args = append(operands[:want:want], flags.Args()...)
		}
		if len(args) != want {
			return usageError{fmt.Errorf("ringstore %s: expected %s; got %q; see ringstore %[1]s -h", name, cmp.Or(operands, "no arguments"), args)}
		}
		return exec(ctx, args)
	}
	return c
}

// newConfigCommand returns a command with the flag -config. exec gets the configuration.
func newConfigCommand(std stdio, name, operands, short, long string,
	exec func(ctx context.Context, cfg *configs.Config, operands []string) error,
) *ffcli.Command {
	var file *string
	c := newCommand(std, name, operands, short, long, func(ctx context.Context, operands []string) error {
		cfg, err := loadConfig(*file)
		if err != nil {
			return err
		}
		return exec(ctx, cfg, operands)
	})
	file = c.FlagSet.String("config", defaultConfig, "configuration `file`")
	return c
}

// commandHelp is what -h prints of a command.
func commandHelp(c *ffcli.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s\n\n%s\n", c.ShortUsage, strings.TrimSpace(c.LongHelp))
	writeFlags(&b, c.FlagSet)
	return strings.TrimSuffix(b.String(), "\n")
}

// rootHelp is what -h prints of the program: one line per command, and the flags of the server.
// Shell completions read it.
func rootHelp(root *ffcli.Command) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "Usage: %s\t%s\n", root.ShortUsage, root.ShortHelp)
	for _, c := range root.Subcommands {
		fmt.Fprintf(t, "       %s\t%s\n", c.ShortUsage, c.ShortHelp)
	}
	_ = t.Flush() // a strings.Builder does not fail
	b.WriteString("\nringstore COMMAND -h explains a command.\n")
	writeFlags(&b, root.FlagSet)
	return strings.TrimSuffix(b.String(), "\n")
}

func writeFlags(b *strings.Builder, flags *flag.FlagSet) {
	hasFlags := false
	flags.VisitAll(func(*flag.Flag) { hasFlags = true })
	if !hasFlags {
		return
	}
	b.WriteString("\nFlags:\n")
	before := flags.Output()
	flags.SetOutput(b)
	flags.PrintDefaults()
	flags.SetOutput(before)
}

func helpCommand(std stdio, root *ffcli.Command) *ffcli.Command {
	c := newCommand(std, "help", "", "explain the program or a command", "Prints what ringstore -h or ringstore COMMAND -h prints.", nil)
	c.ShortUsage = "ringstore help [COMMAND]"
	c.Exec = func(_ context.Context, args []string) error {
		explained := root
		if len(args) > 0 {
			if explained = subcommand(root, args[0]); explained == nil {
				return unknownCommand(root, args[0])
			}
		}
		fmt.Fprintln(std.out, explained.UsageFunc(explained))
		return nil
	}
	return c
}

// subcommand returns the command of that name, nil if there is none.
func subcommand(root *ffcli.Command, name string) *ffcli.Command {
	for _, c := range root.Subcommands {
		if c.Name == strings.ToLower(name) {
			return c
		}
	}
	return nil
}

// calledName returns what a user types before -h to get the help of the command that was called.
func calledName(root *ffcli.Command) string {
	if c := subcommand(root, root.FlagSet.Arg(0)); c != nil {
		return "ringstore " + c.Name
	}
	return "ringstore"
}

func unknownCommand(root *ffcli.Command, name string) error {
	var names []string
	for _, c := range root.Subcommands {
		names = append(names, c.Name)
	}
	nearest := configs.Nearest(name, names)
	if nearest == "" {
		return usageError{fmt.Errorf("ringstore: unknown command %q; see ringstore help", name)}
	}
	return usageError{fmt.Errorf("ringstore: unknown command %q; did you mean %q?", name, nearest)}
}
