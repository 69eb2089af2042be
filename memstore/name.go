package memstore

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ringstore/ringstore/memstore/foldername"
)

// names yields the names of a key that senders choose.
func (k *Key) names() iter.Seq2[string, string] {
	return func(yield func(what, name string) bool) {
		_ = yield("cluster", k.Cluster) && yield("host", k.Host) &&
			yield("type", k.Device.Type) && yield("type-id", k.Device.TypeID) &&
			yield("stype", k.Device.Subtype) && yield("stype-id", k.Device.SubtypeID)
	}
}

// checkNewNames checks the names of a series that a sender writes to. It refuses more than
// checkNames, which also holds for what is stored already.
func checkNewNames(k Key, limit int) error {
	if err := checkNames(k, limit); err != nil {
		return err
	}
	for what, name := range k.names() {
		if err := checkReadable(name); err != nil {
			return fmt.Errorf("%w: %s %s", ErrName, what, err)
		}
	}
	if _, fits := foldername.Of(k.Cluster); !fits {
		return fmt.Errorf("%w: cluster is longer than the %d bytes of a folder in the archive; any byte but letters, digits, -, _ and . counts as three",
			ErrName, foldername.Max)
	}
	return nil
}

// checkReadable refuses what people cannot see, or what stands for all names elsewhere.
func checkReadable(name string) error {
	for _, r := range name {
		switch {
		case r == '*':
			return errors.New(`contains a "*", which stands for all names`)
		case r >= utf8.RuneSelf && unicode.In(r, invisible...):
			return fmt.Errorf("contains the invisible character %U", r)
		}
	}
	return nil
}

// invisible are characters without a glyph: those that change the direction of text, are of zero
// width, or end a line.
var invisible = []*unicode.RangeTable{unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector}

func checkNames(k Key, limit int) error {
	for what, name := range k.names() {
		if err := checkName(name, limit); err != nil {
			return fmt.Errorf("%w: %s %s", ErrName, what, err)
		}
	}
	if err := checkPathElement(k.Cluster); err != nil {
		return fmt.Errorf("%w: cluster %s", ErrName, err)
	}
	if err := checkPathElement(k.Host); err != nil {
		return fmt.Errorf("%w: host %s", ErrName, err)
	}
	return nil
}

func checkName(name string, limit int) error {
	switch {
	case len(name) > limit:
		return fmt.Errorf("is longer than %d bytes", limit)
	case !utf8.ValidString(name):
		return errors.New("is not UTF-8")
	case strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("contains a control character")
	}
	return nil
}

// maxFileName is NAME_MAX of Linux, in bytes.
const maxFileName = 255

// checkPathElement refuses names that could leave a directory: the names of clusters and hosts
// become file names.
func checkPathElement(name string) error {
	switch {
	case name == "":
		return errors.New("is empty")
	case len(name) > maxFileName:
		return fmt.Errorf("is longer than %d bytes", maxFileName)
	case name == "." || name == "..":
		return fmt.Errorf("may not be %q", name)
	case strings.ContainsAny(name, `/\`):
		return errors.New("contains a slash")
	}
	return nil
}
