package configs_test

import (
	"os"
	"path"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/configs"
)

// The deployment examples mount the keys of their configuration as a read-only directory.
func TestDeployments(t *testing.T) {
	config, err := configs.Load("deploy/config.json")
	if err != nil || len(config.Warnings) > 0 {
		t.Fatalf("%v, %v", err, linesOf(config.Warnings))
	}
	issuer := config.Auth.Issuers[0]
	password, _, err := configs.ParseReference(string(config.NATS.Password))
	if err != nil {
		t.Fatal(err)
	}
	directory := path.Dir(issuer.PublicKeyFile)
	for _, file := range []string{password.Name, config.Auth.RevocationFile} {
		if path.Dir(file) != directory {
			t.Errorf("%s is not in %s", file, directory)
		}
	}
	data := path.Dir(config.MetricStore.Checkpoints.Directory)
	for name, mounts := range map[string][]string{
		"deploy/compose.yaml": {":" + directory + ":ro", ":" + data, ":/etc/ringstore/config.json:ro"},
		"deploy/kubernetes.yaml": {
			"mountPath: " + directory + ", readOnly: true", "mountPath: " + data, "mountPath: /etc/ringstore, readOnly: true",
		},
		"deploy/Dockerfile":         {" " + data, `"/etc/ringstore/config.json"`},
		"deploy/kustomization.yaml": {"[config.json]", "[kubernetes.yaml]"},
	} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, mount := range mounts {
			if !strings.Contains(string(text), mount) {
				t.Errorf("%s does not have %q", name, mount)
			}
		}
		if strings.Contains(string(text), "subPath:") {
			t.Errorf("%s mounts a file by itself, which would not be replaced", name)
		}
	}
}
