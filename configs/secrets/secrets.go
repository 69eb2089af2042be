// Package secrets reads keys and passwords that a configuration refers to: from the environment,
// from files and from vaults.
//
// No other package resolves a [configs.Reference]. It knows no key format and keeps no secret, and
// its errors show no value. Packages below it read from particular vaults. Package auth/source
// watches secrets that may change.
package secrets

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/configs/smallfile"
)

// MaxBytes is the maximum size of a secret, well above the 25 KB of Azure Key Vault.
const MaxBytes = 64 << 10

// Vault reads a secret. vault is the name of the vault or its full host name; an empty version is
// the newest. Errors do not contain the value.
type Vault interface {
	Secret(ctx context.Context, vault, name, version string) (string, error)
}

// Reader reads what references refer to. The zero value has no vault. It may be used concurrently
// if its vault may.
type Reader struct {
	AzureKV Vault // for azure-kv:// references; nil: they are errors
}

// Error is returned for a reference that could not be read. It does not contain the value.
type Error struct {
	Reference configs.Reference
	Err       error
}

// Error returns the reference and the reason.
func (e *Error) Error() string { return e.Reference.String() + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// errNoReference does not show the text that is not a reference: it may be a secret.
var errNoReference = errors.New(`expected "env:NAME", "file:PATH" or "azure-kv://VAULT/NAME"`)

// Read returns the secret of a reference like "env:NAME", 1 to [MaxBytes] bytes, which the caller
// owns. One line end (LF or CR LF) at the end of text is removed, because editors and "echo" add
// it. Binary data, which has a zero byte or is not UTF-8, is not changed. Errors are of type
// [*Error], except for text that is not a valid reference.
func (r Reader) Read(ctx context.Context, reference string) ([]byte, error) {
	ref, isReference, err := configs.ParseReference(reference)
	if err != nil {
		return nil, err
	}
	if !isReference {
		return nil, errNoReference
	}
	data, err := r.read(ctx, ref)
	data = withoutLineEnd(data)
	_, tooLarge := errors.AsType[*smallfile.TooLargeError](err)
	switch {
	case tooLarge || len(data) > MaxBytes:
		err = &smallfile.TooLargeError{MaxBytes: MaxBytes}
	case err == nil && len(data) == 0:
		err = errors.New("is empty")
	}
	if err != nil {
		return nil, &Error{ref, err}
	}
	return data, nil
}

// Word is [Reader.Read] for a token or password: one word of printable characters. White space
// around it is removed.
func (r Reader) Word(ctx context.Context, reference string) (configs.Secret, error) {
	data, err := r.Read(ctx, reference)
	if err != nil {
		return "", err
	}
	ref, _, _ := configs.ParseReference(reference)
	text := strings.TrimSpace(string(data))
	switch {
	case text == "":
		return "", &Error{ref, errors.New("is empty")}
	case !utf8.ValidString(text), strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return "", &Error{ref, errors.New("expected one word of printable characters")}
	}
	return configs.Secret(text), nil
}

// Key returns the key in a value like auth.issuers[].shared-secret: a key or a reference to one,
// decoded if "base64:" (RFC 4648, section 4) is in front of either. The caller owns the result.
func (r Reader) Key(ctx context.Context, value configs.Secret) ([]byte, error) {
	text, encoded := strings.CutPrefix(string(value), "base64:")
	data := []byte(text)
	ref, isReference, err := configs.ParseReference(text)
	if isReference || err != nil {
		if data, err = r.Read(ctx, text); err != nil {
			return nil, err
		}
	}
	if !encoded {
		return data, nil
	}
	decoded, err := base64.StdEncoding.DecodeString(string(data))
	switch {
	case err == nil:
		return decoded, nil
	case isReference:
		return nil, &Error{ref, errNoBase64}
	default:
		return nil, errNoBase64
	}
}

// errNoBase64 has no position: the position of the first wrong byte would reveal something about
// the value.
var errNoBase64 = errors.New("expected standard base64")

func (r Reader) read(ctx context.Context, ref configs.Reference) ([]byte, error) {
	switch ref.Store {
	case configs.StoreEnv:
		value, set := os.LookupEnv(ref.Name)
		if !set {
			return nil, errors.New("the environment variable is not set")
		}
		return []byte(value), nil
	case configs.StoreFile:
		return smallfile.ReadRegular(ref.Name, MaxBytes+2) // Read removes a line end
	default:
		if r.AzureKV == nil {
			return nil, errors.New("no vault is configured")
		}
		value, err := r.AzureKV.Secret(ctx, ref.Vault, ref.Name, ref.Version)
		return []byte(value), err
	}
}

func withoutLineEnd(data []byte) []byte {
	if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return data
	}
	line, found := bytes.CutSuffix(data, []byte("\n"))
	if found {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	return line
}
