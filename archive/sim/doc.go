// Package sim simulates a server and its disk, and compares what the server holds with a model. It
// has tests only.
//
// A seed makes a script: a list of steps such as a write, a free, a checkpoint or a loss of power.
// The real memstore, archive, journal and ingest run it on the file system of package disktest and on
// the clock of a synctest bubble. The model is a map of the events of each slot. It shares no code
// with the store: it knows what was acknowledged, and which outcomes docs/storage.md allows.
//
// The same seed gives the same digest of all operations and answers. A seed that fails is printed
// with its script, which was shortened by leaving out steps as long as it still fails.
//
//	go test ./archive/sim                     # a fixed part, some seconds
//	make simulate                            # the fixed part, then fresh seeds, 60 s in total
//	scripts/simulate -seed 4711               # one seed, with its script
package sim
