package server

import (
	"fmt"
	"os"
	"syscall"

	"github.com/ringstore/ringstore/cmd/internal/setup"
)

// dropPrivileges makes the process run as another user and group. Root gives up its supplementary
// groups also if the group is the current one.
func dropPrivileges(username, group string) error {
	who, err := setup.LookUp(username, group)
	if err != nil || who.IsCurrent() && (who.GID < 0 || os.Geteuid() != 0) {
		return err
	}
	uid, gid := who.UID, who.GID
	// Groups first: only root may change them.
	if gid >= 0 {
		if err := syscall.Setgroups([]int{gid}); err != nil {
			return fmt.Errorf("cannot drop supplementary groups: %w", err)
		}
		if err := syscall.Setgid(gid); err != nil {
			return fmt.Errorf("cannot change to group %d: %w", gid, err)
		}
	}
	if uid >= 0 {
		if err := syscall.Setuid(uid); err != nil {
			return fmt.Errorf("cannot change to user %q: %w", username, err)
		}
	}
	return nil
}
