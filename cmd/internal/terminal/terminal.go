// Package terminal tells what a command may print: colours, and how wide.
package terminal

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Is reports whether w is a terminal.
func Is(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Size returns the width and height of w in characters, and 80 and 24 if w is no terminal.
func Size(w io.Writer) (width, height int) {
	if f, ok := w.(*os.File); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 {
			return width, height
		}
	}
	return 80, 24
}

// Style emphasises text. The zero Style does not.
type Style struct{ colored bool }

// StyleFor returns the style for w: colours on a terminal that has them, unless the environment
// variable NO_COLOR is set (https://no-color.org).
func StyleFor(w io.Writer, getenv func(string) string) Style {
	return Style{Is(w) && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"}
}

// Colored reports whether the style has colours.
func (s Style) Colored() bool { return s.colored }

// Strong returns text that stands out, such as a heading.
func (s Style) Strong(text string) string { return s.with("1", text) }

// Accent returns text to copy or to click.
func (s Style) Accent(text string) string { return s.with("36", text) }

// Faint returns text of little importance.
func (s Style) Faint(text string) string { return s.with("2", text) }

func (s Style) with(code, text string) string {
	if !s.colored {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
