package authtest

import (
	"regexp"
	"strings"
)

// secretForms matches tokens and signing keys.
var secretForms = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+` + // JSON Web Tokens (RFC 7519), also truncated ones
	`|\bS[UANCO][A-Z2-7]{56}\b` + // seeds of NATS nkeys
	`|PRIVATE KEY-----` + // PEM
	`|(?i:bearer|token) +[\w.~+/-]{16,}`) // the Authorization header

// SecretsIn returns everything in a log that looks like a token or a key, and those of the known
// passwords and opaque tokens that occur in it.
func SecretsIn(log string, known ...string) []string {
	found := secretForms.FindAllString(log, -1)
	for _, s := range known {
		if strings.Contains(log, s) {
			found = append(found, s)
		}
	}
	return found
}
