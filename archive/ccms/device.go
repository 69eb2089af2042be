package ccms

import (
	"fmt"
	"strings"

	"github.com/ringstore/ringstore/memstore"
)

// maxLevels is the number of levels below a host: type and subtype.
const maxLevels = 2

// types are the types of ClusterCockpit. cc-metric-store does not write "node".
var types = []string{"hwthread", "core", "socket", "memoryDomain", "accelerator", "node"}

// subtypes are those that cc-metric-collector sends.
var subtypes = []string{"filesystem", "network", "device", "disk", "fan"}

// device returns the device for the names of the levels below a host.
//
// cc-metric-store joins type and id without a separator and omits "node". A name is therefore split
// behind a known type. Otherwise it is split before its id, the longest suffix that starts with a
// digit and consists of hexadecimal digits, ":", "." and "-" ("gpu0000:3b:00.0" is gpu
// 0000:3b:00.0); without such a suffix the whole name is the type. A name of digits only stands for
// type=node,type-id=0, which is the node. The second level is the subtype, split in the same way;
// older versions ignored the stype tag, and a level without it looks the same ("eth0" becomes
// subtype eth, id 0). Different names give different devices, except for those of the node.
func device(levels []string) (memstore.Device, error) {
	var d memstore.Device
	switch len(levels) {
	case 0:
		return d, nil
	case 1:
	case 2:
		d.Subtype, d.SubtypeID = splitSubtype(levels[1])
	default:
		return d, fmt.Errorf("expected at most %d levels below the host, type and subtype; got %d levels below the host", maxLevels, len(levels))
	}
	d.Type, d.TypeID = splitType(levels[0])
	return d, nil
}

func splitType(name string) (typ, id string) {
	for _, t := range types {
		rest, ok := strings.CutPrefix(name, t)
		if !ok || t != "accelerator" && !isDigits(rest) {
			continue
		}
		if t == "node" {
			return "", ""
		}
		return t, rest
	}
	if isDigits(name) {
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
	if i < 0 || len(end)+i == 0 { // a type must not be empty
		return name, ""
	}
	return name[:len(end)+i], name[len(end)+i:]
}

func isDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }
