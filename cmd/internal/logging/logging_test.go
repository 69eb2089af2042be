package logging

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"os"
	"testing"
)

// TestTextOnATerminal: the default is text on a terminal only.
func TestTextOnATerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer terminal.Close()
	isText := func(w io.Writer) bool {
		log, err := New(w, "info", "", false)
		if err != nil {
			t.Fatal(err)
		}
		_, text := log.Handler().(*slog.TextHandler)
		return text
	}
	if !isText(terminal) {
		t.Error("no text on a terminal")
	}
	if isText(new(bytes.Buffer)) || isText(bufio.NewWriter(terminal)) {
		t.Error("text where there is no terminal")
	}
}
