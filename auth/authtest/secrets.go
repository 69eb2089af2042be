package authtest

import (
	"regexp"
	"strings"
)

// secretForms are how tokens, and the keys that sign them, look.
var secretForms = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+` + // JSON Web Tokens (RFC 7519), and what is left of one
	`|\bS[UANCO][A-Z2-7]{56}\b` + // seeds of NATS nkeys
	`|PRIVATE KEY-----` + // PEM
	`|(?i:bearer|token) +[\w.~+/-]{16,}`) // the Authorization header

// SecretsIn returns what in a log looks like a token or a key, whosever it is, and
// which of the known passwords and opaque tokens stand there.
func SecretsIn(log string, known ...string) []string {
	found := secretForms.FindAllString(log, -1)
	for _, s := range known {
		if strings.Contains(log, s) {
			found = append(found, s)
		}
	}
	return found
}
