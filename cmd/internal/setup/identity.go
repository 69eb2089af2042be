package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Identity is the user and group that the server changes to; -1 means no change.
type Identity struct{ UID, GID int }

// LookUp returns the identity of main.user and main.group. Either may be empty; an empty group is
// the user's primary one. Errors are of type [ConfigError].
func LookUp(username, group string) (Identity, error) {
	who := Identity{-1, -1}
	if username != "" {
		u, err := user.Lookup(username)
		if err == nil {
			who.UID, err = strconv.Atoi(u.Uid)
		}
		if err == nil {
			who.GID, err = strconv.Atoi(u.Gid)
		}
		if err != nil {
			return Identity{-1, -1}, ConfigError{fmt.Errorf("main.user: %w", err)}
		}
	}
	if group != "" {
		g, err := user.LookupGroup(group)
		if err == nil {
			who.GID, err = strconv.Atoi(g.Gid)
		}
		if err != nil {
			return Identity{-1, -1}, ConfigError{fmt.Errorf("main.group: %w", err)}
		}
	}
	return who, nil
}

// IsCurrent reports whether the process has this identity already.
func (who Identity) IsCurrent() bool {
	return (who.UID < 0 || who.UID == os.Getuid()) && (who.GID < 0 || who.GID == os.Getgid())
}

// checkCreate returns an error if files cannot be created in a directory. With missing, it may be
// missing, if it can be created.
func (who Identity) checkCreate(dir string, missing bool) error {
	info, err := os.Stat(dir)
	switch {
	case missing && errors.Is(err, fs.ErrNotExist):
		return who.checkCreate(parent(dir), true)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case !who.canCreate(dir, info):
		return fmt.Errorf("no permission to create files in %s", dir)
	}
	return nil
}

// canCreate reports whether files can be created in a directory.
func (who Identity) canCreate(dir string, info fs.FileInfo) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || who.IsCurrent() {
		return unix.Access(dir, unix.W_OK|unix.X_OK) == nil
	}
	const writeAndSearch = 3
	mode := info.Mode().Perm()
	switch {
	case who.UID == 0:
		return true
	case int64(owner.Uid) == int64(who.UID):
		mode >>= 6
	case int64(owner.Gid) == int64(who.GID):
		mode >>= 3
	}
	return mode&writeAndSearch == writeAndSearch
}
