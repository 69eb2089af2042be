package auth

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
)

// minSecret is the minimum length of a shared secret, in bytes.
const minSecret = 32

// publishedSecret is the signing key in DataHub's documentation and Compose files.
const publishedSecret = "WnEdIeTG/VVCLQqGwC/BAkqyY0k+H8NEAtWGejrBI94="

// A Secret is shared with an issuer that signs with HMAC: whoever can verify its tokens can also
// make them. The separate type ensures that a public key is never used as a secret. Formatting it
// never reveals the bytes.
type Secret struct {
	id    string
	bytes []byte
}

// NewSecret returns a Secret of 32 bytes to 16 KiB that are not all the same. id is the kid of its
// tokens, empty if they have none. The bytes are copied, and no error contains them.
func NewSecret(id string, secret []byte) (Secret, error) {
	switch {
	case len(secret) < minSecret:
		return Secret{}, fmt.Errorf("shared secret: expected at least %[2]d bytes, got %[1]d", len(secret), minSecret)
	case len(secret) > maxToken:
		return Secret{}, fmt.Errorf("shared secret: expected at most %[2]d bytes, got %[1]d", len(secret), maxToken)
	case bytes.Count(secret, secret[:1]) == len(secret):
		return Secret{}, errors.New("shared secret: all bytes are the same")
	}
	return Secret{id, bytes.Clone(secret)}, nil
}

// String hides the secret.
func (s Secret) String() string { return "shared secret" }

// Format hides the secret from every verb of package fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Secret) equal(other Secret) bool {
	return s.id == other.id && subtle.ConstantTimeCompare(s.bytes, other.bytes) == 1
}

func (s Secret) published() bool { return string(s.bytes) == publishedSecret }
