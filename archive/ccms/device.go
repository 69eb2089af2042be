package ccms

import (
	"fmt"
	"strings"

	"github.com/ringstore/ringstore/memstore"
)

// maxLevels is how many levels are below a host: type and subtype.
const maxLevels = 2

// types that ClusterCockpit knows; "node" is not written by cc-metric-store.
var types = []string{"hwthread", "core", "socket", "memoryDomain", "accelerator", "node"}

// subtypes that cc-metric-collector sends.
var subtypes = []string{"filesystem", "network", "device", "disk", "fan"}

// device finds the device that the names of levels below a host stand for.
//
// cc-metric-store joins type and id without a mark between them, and leaves
// "node" away. So a name is taken apart by the types known; an unknown one
// before its id, which is the longest end of it that starts with a digit and
// has hexadecimal digits, ":", "." and "-" only ("gpu0000:3b:00.0" is gpu
// 0000:3b:00.0); and if it has no such end, all of it is the type. Digits
// alone are what it makes of type=node,type-id=0: the node. A level below is a
// subtype, taken apart in the same way; one without its stype tag, which older
// versions did not know, cannot be told from that ("eth0" is subtype eth, id 0).
// Different names are different devices, but for those of the node.
func device(levels []string) (memstore.Device, error) {
	var d memstore.Device
	switch len(levels) {
	case 0:
		return d, nil
	case 1:
	case 2:
		d.Subtype, d.SubtypeID = splitSubtype(levels[1])
	default:
		return d, fmt.Errorf("%d levels below the host, where type and subtype are all there is", len(levels))
	}
	d.Type, d.TypeID = splitType(levels[0])
	return d, nil
}

func splitType(name string) (typ, id string) {
	for _, t := range types {
		rest, ok := strings.CutPrefix(name, t)
		if !ok || t != "accelerator" && !digits(rest) {
			continue
		}
		if t == "node" {
			return "", ""
		}
		return t, rest
	}
	if digits(name) {
		return "", ""
	}
	return splitUnknown(name)
}

func splitSubtype(name string) (typ, id string) {
	for _, t := range subtypes {
		if rest, ok := strings.CutPrefix(name, t); ok {
			return t, rest
		}
	}
	return splitUnknown(name)
}

func splitUnknown(name string) (typ, id string) {
	end := strings.TrimRight(name, "0123456789abcdefABCDEF:.-")
	i := strings.IndexAny(name[len(end):], "0123456789")
	if i < 0 || len(end)+i == 0 { // a type has a name
		return name, ""
	}
	return name[:len(end)+i], name[len(end)+i:]
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }
