//go:build race

package archive

// raceDetector reports whether the race detector is on, which multiplies memory and time.
const raceDetector = true
