package server

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Harden gives up what this process never needs: no program that it could start gains privileges,
// and its memory, which holds keys and tokens, neither gets into a core dump nor is open to other
// processes of its user. It is for the program, not for tests: all of it is permanent.
func Harden(log *slog.Logger) {
	if err := harden(); err != nil {
		log.Warn("the process is less protected than it could be", "error", err)
	}
}

func harden() error {
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
	err := error(nil)
	switch {
	case errno == syscall.ENOTSUP: // built with cgo, as no release is
		err = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	case errno != 0:
		err = errno
	}
	if err != nil {
		err = fmt.Errorf("no_new_privs: %w", err)
	}
	return errors.Join(err, forbidDumps())
}

// forbidDumps holds for the process. A change of the user does not undo it.
func forbidDumps() error {
	limitErr := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	if limitErr != nil {
		limitErr = fmt.Errorf("no core dumps: %w", limitErr)
	}
	dumpErr := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	if dumpErr != nil {
		dumpErr = fmt.Errorf("not dumpable: %w", dumpErr)
	}
	return errors.Join(limitErr, dumpErr)
}

// warnOfRoot warns of a server that keeps root's rights.
func warnOfRoot(log *slog.Logger) {
	if os.Geteuid() == 0 {
		log.Warn("runs as root, which it does not need: set main.user, or start it as another user")
	}
}
