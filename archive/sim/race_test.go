//go:build race

package sim

// raceDetector reports whether the race detector is on.
const raceDetector = true
