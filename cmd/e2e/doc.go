// Package e2e tests the whole program over real HTTP and NATS: as a process, which the tests build,
// or as a server in the process of the test, whose goroutines are checked for leaks.
package e2e
