package ccms

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
)

// atOffset is an error at a place in a file.
type atOffset struct {
	offset int64
	err    error
}

func (e *atOffset) Error() string { return fmt.Sprintf("byte %d: %s", e.offset, e.err) }
func (e *atOffset) Unwrap() error { return e.err }

// cursor reads a binary file. It tracks the bytes left, so that lengths in the file can be checked.
type cursor struct {
	in     *bufio.Reader
	offset int64
	size   int64
}

func (c *cursor) left() int64 { return c.size - c.offset }

func (c *cursor) fail(format string, args ...any) error {
	return &atOffset{c.offset, fmt.Errorf(format, args...)}
}

// peek returns the next n bytes, or fewer at the end of the file. n must fit into the reader's
// buffer. The bytes are valid until the next read.
func (c *cursor) peek(n int) ([]byte, error) {
	b, err := c.in.Peek(int(min(int64(n), c.left())))
	if errors.Is(err, io.EOF) {
		err = errors.New("the file has shrunk")
	}
	if err != nil {
		return nil, c.fail("%w", err)
	}
	return b, nil
}

// next returns the next n bytes and skips them.
func (c *cursor) next(n int, what string) ([]byte, error) {
	if int64(n) > c.left() {
		return nil, c.fail("%s: expected %d bytes, got %d", what, n, c.left())
	}
	b, err := c.peek(n)
	if err != nil {
		return nil, err
	}
	return b, c.skip(n)
}

// skip skips n bytes, which peek has returned. Their slice stays valid.
func (c *cursor) skip(n int) error {
	if _, err := c.in.Discard(n); err != nil {
		return c.fail("%w", err)
	}
	c.offset += int64(n)
	return nil
}

// contextReader fails when its context has ended.
type contextReader struct {
	ctx context.Context
	in  io.Reader
}

func (s contextReader) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.in.Read(b)
}
