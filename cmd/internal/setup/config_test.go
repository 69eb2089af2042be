package setup

import "testing"

// TestExamples: the issuers and keys in every example configuration are valid.
func TestExamples(t *testing.T) {
	for _, name := range []string{"config.json", "config-issuers.json", "config-nats.json", "deploy/config.json"} {
		if _, err := Load("../../../configs/" + name); err != nil {
			t.Error(err)
		}
	}
}
