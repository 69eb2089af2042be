package server

import (
	"fmt"
	"os/user"
	"strconv"
	"syscall"
)

// dropPrivileges makes the process run as another user and group. Either may be empty; an empty
// group is the user's primary one.
func dropPrivileges(username, group string) error {
	uid, gid := -1, -1
	if username != "" {
		u, err := user.Lookup(username)
		if err != nil {
			return fmt.Errorf("main.user: %w", err)
		}
		if uid, err = strconv.Atoi(u.Uid); err != nil {
			return fmt.Errorf("main.user: %w", err)
		}
		if gid, err = strconv.Atoi(u.Gid); err != nil {
			return fmt.Errorf("main.user: %w", err)
		}
	}
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return fmt.Errorf("main.group: %w", err)
		}
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return fmt.Errorf("main.group: %w", err)
		}
	}
	if (uid < 0 || uid == syscall.Getuid()) && (gid < 0 || gid == syscall.Getgid()) {
		return nil
	}
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
