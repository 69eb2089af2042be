package parquet

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ringstore/ringstore/memstore/foldername"
	"github.com/ringstore/ringstore/memstore/unixtime"
)

// Day is a UTC day, counted from 1970-01-01.
type Day int64

// DayOf returns the day of a Unix time in seconds.
func DayOf(unix int64) Day {
	return Day(unixtime.FloorDiv(unix, unixtime.SecondsPerDay))
}

// String returns the day as YYYY-MM-DD.
func (d Day) String() string {
	return time.Unix(int64(d)*unixtime.SecondsPerDay, 0).UTC().Format(time.DateOnly)
}

const extension = ".parquet"

// fileName returns the name of a day's file; numbers start at 1.
func fileName(day Day, number int) string {
	if number == 1 {
		return day.String() + extension
	}
	return fmt.Sprintf("%s-%d%s", day, number, extension)
}

// fileNumber is the inverse of fileName; 0 if the name is not one of the day.
func fileNumber(day Day, name string) int {
	if name == fileName(day, 1) {
		return 1
	}
	rest, _ := strings.CutPrefix(name, day.String()+"-")
	number, _ := strconv.Atoi(strings.TrimSuffix(rest, extension))
	if number < 2 || name != fileName(day, number) {
		return 0
	}
	return number
}

// isFileName reports whether a name is that of a file of any day.
func isFileName(name string) bool {
	if len(name) < len(time.DateOnly) {
		return false
	}
	t, err := time.Parse(time.DateOnly, name[:len(time.DateOnly)])
	return err == nil && fileNumber(DayOf(t.Unix()), name) > 0
}

// folderName returns the name of a cluster's folder: that of [foldername.Of], if it fits. A name that
// would be too long is cut, and ends in "%-" and a hash of the cluster's name. The store accepts no
// such clusters any more, but may hold them.
func folderName(cluster string) string {
	name, fits := foldername.Of(cluster)
	switch {
	case name == "":
		return "%-"
	case fits:
		return name
	}
	hash := sha256.Sum256([]byte(cluster))
	end := fmt.Sprintf("%%-%x", hash[:16])
	name = name[:foldername.Max-len(end)]
	// An escaped byte is not cut in two.
	if i := strings.LastIndexByte(name, '%'); i > len(name)-3 {
		name = name[:i]
	}
	return name + end
}
