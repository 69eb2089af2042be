package truncate_test

import (
	"testing"

	"github.com/ringstore/ringstore/api/internal/truncate"
)

func TestText(t *testing.T) {
	f := func(s string, limit int, want string) {
		t.Helper()
		if got := truncate.Text(s, limit); got != want {
			t.Errorf("Text(%q, %d) = %q, want %q", s, limit, got, want)
		}
	}
	f("", 0, "")
	f("abc", 3, "abc")
	f("abcd", 3, "abc...")
	f("abcd", 0, "...")
	f("aé", 3, "aé")
	f("aéb", 3, "aé...")
	f("aéb", 2, "a...")
	f("a\xffb", 2, "a...")
}
