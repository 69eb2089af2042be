package memstore

import (
	"errors"
	"strings"
	"testing"
)

// Names that people cannot read, that mean all names elsewhere, or that no folder of the archive can
// have are refused, whatever part of the path they are.
func TestNamesOfNewSeries(t *testing.T) {
	s := newStore(t, clockAt(base))
	f := func(name, want string) {
		t.Helper()
		for what, k := range map[string]Key{
			"cluster": {Cluster: name, Host: "n1"}, "host": {Cluster: "alpha", Host: name},
			"type":     {Cluster: "alpha", Host: "n1", Device: Device{Type: name, TypeID: "0"}},
			"type-id":  {Cluster: "alpha", Host: "n1", Device: Device{Type: "socket", TypeID: name}},
			"stype":    {Cluster: "alpha", Host: "n1", Device: Device{Subtype: name, SubtypeID: "0"}},
			"stype-id": {Cluster: "alpha", Host: "n1", Device: Device{Subtype: "network", SubtypeID: name}},
		} {
			k.Metric = "load"
			_, err := s.Series(k)
			switch {
			case want == "" && err != nil:
				t.Errorf("%s %q: %v", what, name, err)
			case want != "" && (!errors.Is(err, ErrName) || err.Error() != "bad name: "+what+" "+want):
				t.Errorf("%s %q: %v, want %q", what, name, err, want)
			}
		}
	}
	f("größe", "")
	f("00000000:49:00.0", "")
	f("節点一", "")
	f("a b", "")
	f("*", `contains a "*", which stands for all names`)
	f("n*", `contains a "*", which stands for all names`)
	f("fritz\u202egpj", "contains the invisible character U+202E")
	f("n\u20661", "contains the invisible character U+2066")
	f("n1\u200b", "contains the invisible character U+200B")
	f("n\u200d1", "contains the invisible character U+200D")
	f("\ufeffn1", "contains the invisible character U+FEFF")
	f("n\u00ad1", "contains the invisible character U+00AD")
	f("n\u2060", "contains the invisible character U+2060")
	f("n\u061c", "contains the invisible character U+061C")
	f("n\u2028", "contains the invisible character U+2028")
	f("n\u3164", "contains the invisible character U+3164")
	f("n\ufe0f", "contains the invisible character U+FE0F")
	f("n\x00", "contains a control character")
	f("n\xff", "is not UTF-8")
}

func TestClusterFitsIntoAFolder(t *testing.T) {
	s := newStore(t, clockAt(base))
	f := func(name string, fits bool) {
		t.Helper()
		_, err := s.Series(Key{Cluster: name, Host: "n1", Metric: "load"})
		if fits != (err == nil) || err != nil && !errors.Is(err, ErrName) {
			t.Errorf("%.20q, %d bytes: %v", name, len(name), err)
		}
		if _, err := s.Series(Key{Cluster: "alpha", Host: name, Metric: "load"}); err != nil {
			t.Errorf("host %.20q, %d bytes: %v", name, len(name), err)
		}
	}
	f(strings.Repeat("x", 240), true)
	f(strings.Repeat("x", 241), false)
	f(strings.Repeat("ö", 40), true)
	f(strings.Repeat("ö", 41), false)
	f(strings.Repeat(" ", 81), false)
	f("."+strings.Repeat("x", 237), true)
	f("."+strings.Repeat("x", 238), false)
}

// What is stored under such names is restored and can be read.
func TestRefusedNamesAreRestored(t *testing.T) {
	state := HostState{Cluster: strings.Repeat("ö", 100), Host: "n*\u200b", Number: 1}
	s := newStore(t, clockAt(base))
	r := s.Restore()
	if err := r.State(state, true); err != nil {
		t.Error(err)
	}
	if got := s.Hosts(state.Cluster); len(got) != 1 || got[0] != state.Host {
		t.Errorf("%q", got)
	}
	r.Done()
}
