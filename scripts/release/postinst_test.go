package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestServiceThatDoesNotStart checks that an upgrade succeeds even if the service does not start, for
// example because its port is taken. Otherwise dpkg would leave the package half configured, and apt
// would refuse to do anything else.
func TestServiceThatDoesNotStart(t *testing.T) {
	needs(t, "unshare", "mount")
	programs := t.TempDir()
	stub := func(name, text string) {
		if err := os.WriteFile(filepath.Join(programs, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	stub("getent", "exit 0") // the user exists
	stub("install", "exit 0")
	stub("systemctl", `[ "$1" != try-restart ]`)
	const inSystemd = `mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec sh packaging/postinst configure`
	cmd := exec.Command("unshare", "--mount", "sh", "-c", inSystemd)
	cmd.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
