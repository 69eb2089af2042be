package setup

import "testing"

// TestExamples: what the configuration itself says of issuers is sound in every example.
func TestExamples(t *testing.T) {
	for _, name := range []string{"config.json", "config-issuers.json", "config-nats.json", "deploy/config.json"} {
		if _, err := Load("../../../configs/" + name); err != nil {
			t.Error(err)
		}
	}
}
