package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/peterbourgon/ff/v3/ffcli"

	"github.com/ringstore/ringstore/cmd/internal/client"
)

// newClientCommand returns a command that asks a server.
func newClientCommand(std stdio, name, operands string, command interface {
	Help() (short, long string)
	Flags(*flag.FlagSet)
	Check() error
	Run(ctx context.Context, operands []string, out, warnings io.Writer) error
},
) *ffcli.Command {
	short, long := command.Help()
	c := newCommand(std, name, operands, short, long, func(ctx context.Context, operands []string) error {
		if err := command.Check(); err != nil {
			return usageError{fmt.Errorf("ringstore %s: %w", name, err)}
		}
		return command.Run(ctx, operands, std.out, std.err)
	})
	command.Flags(c.FlagSet)
	return c
}

func clientCommands(std stdio) []*ffcli.Command {
	return []*ffcli.Command{
		newClientCommand(std, "query", "PROMQL", &client.Query{}),
		newClientCommand(std, "jobs", "", &client.Jobs{}),
		newClientCommand(std, "top", "", &client.Top{}),
	}
}
