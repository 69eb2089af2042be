package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ringstore/ringstore/auth"
)

// maxKeyFile is more than any key file has, in bytes.
const maxKeyFile = 1 << 20

// runKey prints a public key as main.jwt-public-key wants it.
func runKey(_ context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := newFlags("key", stderr)
	if err := parseFlags(flags, args, 1); err != nil {
		return err
	}
	raw, err := readKeyFile(flags.Arg(0), stdin)
	if err != nil {
		return err
	}
	key, format, err := auth.ParsePublicKey(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", flags.Arg(0), err)
	}
	switch err := auth.CheckKey(key); {
	case errors.Is(err, auth.ErrPublishedKey):
		fmt.Fprintln(stderr, "warning:", err)
	case err != nil:
		return fmt.Errorf("%s: %w", flags.Arg(0), err)
	}
	fmt.Fprintln(stderr, "read as", format)
	fmt.Fprintln(stdout, base64.StdEncoding.EncodeToString(key))
	return nil
}

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
