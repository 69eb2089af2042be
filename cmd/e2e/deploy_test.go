package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// mounted is a directory of secrets as the kubelet mounts it: links to a link to files. The link in
// the middle is replaced when the secret changes.
type mounted struct {
	directory string
	version   int
}

func (m *mounted) mount(t *testing.T, files map[string][]byte) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	m.version++
	data := fmt.Sprintf("..%d", m.version)
	must(os.Mkdir(filepath.Join(m.directory, data), 0o755))
	for name, content := range files {
		cmdtest.WriteFile(t, filepath.Join(m.directory, data, name), content)
		if m.version == 1 {
			must(os.Symlink(filepath.Join("..data", name), filepath.Join(m.directory, name)))
		}
	}
	must(os.Symlink(data, filepath.Join(m.directory, "..data.new")))
	must(os.Rename(filepath.Join(m.directory, "..data.new"), filepath.Join(m.directory, "..data")))
}

// TestDeployment: the server starts with the configuration for containers, and uses a key that is
// replaced in the mounted secret without a restart.
func TestDeployment(t *testing.T) {
	text, err := os.ReadFile("../../configs/deploy/config.json")
	if err != nil {
		t.Fatal(err)
	}
	secret := mounted{directory: t.TempDir()}
	one, two := authtest.NewSigner("EdDSA", ""), authtest.NewSigner("EdDSA", "")
	files := map[string][]byte{
		"cc-backend.pem": pemOf("PUBLIC KEY", spki(t, one)), "nats-password": []byte("secret\n"), "revoked.json": []byte(`{"tokens": []}`),
	}
	secret.mount(t, files)
	t.Setenv("NATS_HOST", "127.0.0.1")
	config := strings.NewReplacer(
		"0.0.0.0:8082", "127.0.0.1:0", "/run/ringstore/keys", secret.directory, "/var/lib/ringstore", t.TempDir(), ":4222", ":1",
	).Replace(string(text))
	p := call(t, "-config", cmdtest.WriteFile(t, filepath.Join(t.TempDir(), "config.json"), []byte(config)))
	p.ready(t)
	by := func(s *authtest.Signer) int {
		return p.status(t, s.Token(authtest.CCBackend(time.Now(), "alice", "api")))
	}
	if first, second := by(one), by(two); first != 200 || second != 401 {
		t.Errorf("%d, %d", first, second)
	}
	files["cc-backend.pem"] = pemOf("PUBLIC KEY", spki(t, two))
	secret.mount(t, files)
	cmdtest.Eventually(t, "the new key", func() bool { return by(two) == 200 })
	if got := by(one); got != 401 {
		t.Errorf("the old key: %d", got)
	}
}
