package server

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// TestStopWithin: a hung stop is aborted, a failed one returns its error.
func TestStopWithin(t *testing.T) {
	hangs := make(chan error)
	if err := stopWithin(time.Nanosecond, func() error { return <-hangs }); err == nil || !strings.Contains(err.Error(), "in the journal") {
		t.Errorf("a stop that hangs: %v", err)
	}
	close(hangs)
	if err := stopWithin(time.Minute, func() error { return io.ErrShortWrite }); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a stop that fails: %v", err)
	}
	if err := stopWithin(time.Minute, func() error { return nil }); err != nil {
		t.Errorf("a stop: %v", err)
	}
}
