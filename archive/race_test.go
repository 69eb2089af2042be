//go:build race

package archive

// raceDetector takes several times the memory of the program.
const raceDetector = true
