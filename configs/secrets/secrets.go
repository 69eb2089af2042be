// Package secrets reads the keys and passwords that a configuration only refers to: from the environment, from files
// and from vaults.
//
// It follows [configs.Reference] and is the only one that does. It knows no key format, keeps nothing it has read, and
// no error of it shows a value. How a particular vault is asked is the job of a package below it; what is to be read
// again when it changes is watched by package auth/source.
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

// MaxBytes is the largest secret that is read. A vault's have 25 KB at most, and no token, password or key has more.
const MaxBytes = 64 << 10

// Vault gives a secret by the name of the vault, or its host in full, and the names of the secret and of its version;
// an empty version is the newest. The value is never in an error.
type Vault interface {
	Secret(ctx context.Context, vault, name, version string) (string, error)
}

// Reader follows references. Its zero value knows no vault. It may be used concurrently if its vault may.
type Reader struct {
	AzureKV Vault // of azure-kv://; nil: such references are errors
}

// Error says which reference could not be followed, and why, without the value.
type Error struct {
	Reference configs.Reference
	Err       error
}

// Error names the reference.
func (e *Error) Error() string { return e.Reference.String() + ": " + e.Err.Error() }

// Unwrap is the reason.
func (e *Error) Unwrap() error { return e.Err }

// errNoReference is for texts that are no reference where one must be; they may be a secret, so it shows nothing.
var errNoReference = errors.New(`expected "env:NAME", "file:PATH" or "azure-kv://VAULT/NAME"`)

// Read returns the bytes that a reference like "env:NAME" leads to, at least one and at most [MaxBytes]. They are the
// caller's. Of a text, one line end (LF or CR LF) at its end is cut off, which editors and "echo" put there; of
// binary data, which is what holds a zero byte or is not UTF-8, nothing is. Errors are of type [*Error], but for texts
// that are no reference.
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

// Word is [Reader.Read] for what is sent in a header or typed into a form: one word of printable characters. White
// space around it is cut off.
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
		return "", &Error{ref, errors.New("holds more than one word")}
	}
	return configs.Secret(text), nil
}

// Key is the bytes of a member that holds a key or a reference to one, as auth.issuers[].shared-secret does: as they
// are, or decoded where "base64:" (RFC 4648, section 4) stands in front of either. They are the caller's.
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

// errNoBase64 says no more, as the position of the first wrong byte would tell something of the value.
var errNoBase64 = errors.New("is not standard base64")

func (r Reader) read(ctx context.Context, ref configs.Reference) ([]byte, error) {
	switch ref.Store {
	case configs.StoreEnv:
		value, set := os.LookupEnv(ref.Name)
		if !set {
			return nil, errors.New("the environment variable is not set")
		}
		return []byte(value), nil
	case configs.StoreFile:
		return smallfile.ReadRegular(ref.Name, MaxBytes+2) // a line end is cut off later
	default:
		if r.AzureKV == nil {
			return nil, errors.New("this program has no access to vaults")
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
