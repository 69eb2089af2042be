package main

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/api/rest/resttest"
)

// asProgram makes the test binary behave as ringstore: the tests start
// themselves where signals, exit codes or a process of its own matter.
const asProgram = "RINGSTORE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	if os.Getenv(asFlood) != "" {
		if err := floodMain(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "flood:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(resttest.Suite{M: m, Contract: contract()})
}

// contract is what all answers over HTTP have to keep.
var contract = sync.OnceValue(func() *resttest.Contract {
	c, err := resttest.ReadContract("../../api/rest/openapi.json")
	if err != nil {
		panic(err)
	}
	return c
})
