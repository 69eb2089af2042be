package demo

import (
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
)

// openBrowser shows a page in the user's browser. It does not wait for the browser, which is in a
// session of its own: Ctrl-C ends the demo only.
func openBrowser(url string) error {
	program := "xdg-open"
	if runtime.GOOS == "darwin" {
		program = "open"
	}
	browser := exec.Command(program, url)
	browser.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := browser.Start(); err != nil {
		return fmt.Errorf("-open: %w; open the printed link instead", err)
	}
	return browser.Process.Release()
}
