package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
)

// image is the result of a Containerfile: a root directory, and how to run it.
type image struct {
	root     debian
	uid, gid uint32
	workdir  string
	command  []string
}

// build executes the instructions that our Containerfile uses.
func build(t *testing.T, file, context string, args map[string]string) image {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	i := image{root: open(t, root), workdir: "/"}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = os.Expand(strings.TrimSpace(line), func(name string) string { return args[name] })
		instruction, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "" || line[0] == '#' || line == "FROM scratch" || instruction == "ARG" || instruction == "EXPOSE":
		case instruction == "COPY":
			from, to, _ := strings.Cut(rest, " ")
			command(t, "install", "-D", "-m", "755", filepath.Join(context, from), i.root.path(to))
		case instruction == "USER":
			_, err = fmt.Sscanf(rest, "%d:%d", &i.uid, &i.gid)
		case instruction == "WORKDIR":
			i.workdir = rest
			err = os.MkdirAll(i.root.path(rest), 0o755)
		case instruction == "ENTRYPOINT" || instruction == "CMD":
			var words []string
			err = json.Unmarshal([]byte(rest), &words)
			i.command = append(i.command, words...)
		default:
			t.Fatalf("unknown instruction %q: teach this test", line)
		}
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return i
}

// TestContainer runs the image: the program needs only itself, its configuration and a directory, and
// does not run as root.
func TestContainer(t *testing.T) {
	packaging(t)
	needs(t, "curl")
	i := build(t, "packaging/Containerfile", released(t, "0.1.0"), map[string]string{"VERSION": "0.1.0", "TARGETARCH": runtime.GOARCH})
	if i.uid == 0 || i.gid == 0 || i.workdir == "/" || len(i.command) == 0 {
		t.Fatalf("%+v", i)
	}
	issuer, addr := authtest.NewIssuer("container"), freeAddr(t)
	config, err := os.ReadFile("packaging/config.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(i.root.path("/etc/ringstore"), 0o755); err != nil {
		t.Fatal(err)
	}
	i.root.write(t, "/etc/ringstore/config.json", strings.Replace(string(config), "127.0.0.1:8082", addr, 1))
	i.root.write(t, "/etc/ringstore/jwt-public-key", issuer.PublicKeyBase64())
	i.root.directory(t, i.workdir, "0700", i.uid, i.gid)

	cmd := exec.Command(i.command[0], i.command[1:]...)
	cmd.Dir, cmd.Env = i.workdir, []string{"PATH=/usr/bin"}
	s := i.root.launch(t, cmd, i.uid, i.gid)
	s.tells(t, "READY=1")
	token := issuer.Token(map[string]any{"sub": "collector", "roles": []string{"api"}, "exp": time.Now().Add(time.Hour).Unix()})
	c := client{"http://" + addr, token, time.Now().Add(-time.Minute).Truncate(time.Minute).Unix()}
	c.push(t, "fritz")
	c.query(t, "fritz")
	s.stop(t)
	if !i.root.exists(i.workdir + "/checkpoints/ringstore") {
		t.Error("nothing was stored")
	}
}
