// Package unixtime has the arithmetic of Unix times that the store, the archive and the line
// protocol share.
package unixtime

// SecondsPerDay is the length of a day. Unix time has no leap seconds.
const SecondsPerDay = 24 * 60 * 60

// FloorDiv returns a/b rounded down, also for times before 1970. b must be positive.
func FloorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
