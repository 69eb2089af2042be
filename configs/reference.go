package configs

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Reference names the place of a key or password that is not in the configuration itself. This
// package only parses references; package secrets reads what they refer to.
type Reference struct {
	Store   Store
	Name    string // of the environment variable, of the file, or of the secret in its vault
	Vault   string // StoreAzureKV only: the vault's name in Azure's public cloud, or its host[:port] in full
	Version string // StoreAzureKV only; empty: the newest
}

// Store is the kind of place that a [Reference] names.
type Store string

const (
	StoreEnv     Store = "env"      // env:NAME
	StoreFile    Store = "file"     // file:PATH, relative to the working directory
	StoreAzureKV Store = "azure-kv" // azure-kv://VAULT/NAME[/VERSION], see https://learn.microsoft.com/azure/key-vault
)

const referenceForms = `"env:NAME", "file:PATH" or "azure-kv://VAULT/NAME"`

// vaultDomains are the domains of Azure's clouds in which vaults have their hosts.
var vaultDomains = []string{".vault.azure.net", ".vault.azure.cn", ".vault.usgovcloudapi.net", ".vault.microsoftazure.de"}

// ParseReference parses a [Reference]. Azure's identifier of a secret,
// https://VAULT.vault.azure.net/secrets/NAME[/VERSION], is one too. Text without one of the prefixes is not a reference: it is
// the value itself where the configuration allows one. Errors do not show the text.
func ParseReference(text string) (ref Reference, isReference bool, err error) {
	store, rest, _ := strings.Cut(text, ":")
	ref.Store = Store(store)
	switch ref.Store {
	case StoreEnv, StoreFile:
		if ref.Name = rest; rest == "" || strings.ContainsRune(rest, 0) {
			err = fmt.Errorf("expected a name after %q", store+":")
		}
		return ref, true, err
	case StoreAzureKV:
		err = ref.azure(rest)
		return ref, true, err
	case "https":
		if !isVaultURL(rest) {
			return Reference{}, false, nil
		}
		ref.Store = StoreAzureKV
		if !strings.Contains(rest, "/secrets/") {
			return ref, true, errors.New(`expected the identifier of a secret, "https://VAULT.vault.azure.net/secrets/NAME"`)
		}
		err = ref.azure(rest)
		return ref, true, err
	default:
		return Reference{}, false, nil
	}
}

// isVaultURL reports whether the host of a URL, which is given without its scheme, is that of a
// vault.
func isVaultURL(rest string) bool {
	host, _, _ := strings.Cut(strings.TrimPrefix(rest, "//"), "/")
	host, _, _ = strings.Cut(strings.ToLower(host), ":")
	return slices.ContainsFunc(vaultDomains, func(domain string) bool { return strings.HasSuffix(host, domain) })
}

func (r *Reference) azure(rest string) error {
	path, ok := strings.CutPrefix(rest, "//")
	parts := strings.Split(path, "/")
	if isIdentifier(parts) {
		parts = slices.Delete(parts, 1, 2)
	}
	if !ok || len(parts) < 2 || len(parts) > 3 {
		return errors.New(`expected "azure-kv://VAULT/NAME" or "azure-kv://VAULT/NAME/VERSION"`)
	}
	r.Vault, r.Name = parts[0], parts[1]
	if len(parts) == 3 {
		r.Version = parts[2]
	}
	switch {
	case !azureName(r.Vault, 24) && !validHost(r.Vault):
		return errors.New("expected a vault name of at most 24 letters, digits and hyphens, or a full host name")
	case !azureName(r.Name, 127):
		return errors.New("expected a secret name of at most 127 letters, digits and hyphens")
	case len(parts) == 3 && !azureName(r.Version, 127):
		return errors.New("expected a secret version of letters and digits")
	}
	return nil
}

// isIdentifier reports whether the parts of a path are those of Azure's identifiers, which have
// "secrets" between vault and name. The second of azure-kv://VAULT/secrets/X may also be the name of
// a secret, if X is a version: 32 hexadecimal digits.
func isIdentifier(parts []string) bool {
	if len(parts) < 3 || parts[1] != "secrets" {
		return false
	}
	_, err := hex.DecodeString(parts[2])
	return len(parts) > 3 || strings.Contains(parts[0], ".") || err != nil || len(parts[2]) != 32
}

// azureName reports whether text is a valid name in Azure Key Vault:
// https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates.
func azureName(text string, maxBytes int) bool {
	return text != "" && len(text) <= maxBytes && !strings.ContainsFunc(text, func(r rune) bool { return r != '-' && !isWord(r) })
}

// validHost reports whether text is host or host:port with a dot in the host. Such a text cannot
// add a user, a path or a query to a URL.
func validHost(text string) bool {
	host, port, hasPort := strings.Cut(text, ":")
	if _, err := strconv.ParseUint(port, 10, 16); hasPort && err != nil {
		return false
	}
	labels := strings.Split(host, ".")
	return len(labels) > 1 && !slices.ContainsFunc(labels, func(label string) bool { return !azureName(label, 63) })
}

func isWord(r rune) bool { return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

// String returns the reference as it may be written in the configuration. It contains no secret.
func (r Reference) String() string {
	switch {
	case r.Store != StoreAzureKV:
		return string(r.Store) + ":" + Printable(r.Name)
	case r.Version == "":
		return "azure-kv://" + r.Vault + "/" + r.Name
	case r.Name == "secrets": // otherwise the version would look like a name
		return "azure-kv://" + r.Vault + "/secrets/secrets/" + r.Version
	default:
		return "azure-kv://" + r.Vault + "/" + r.Name + "/" + r.Version
	}
}

// reference checks a value that must be a reference or empty.
func (c checker) reference(path, text, what string) {
	_, isReference, err := ParseReference(text)
	switch {
	case text == "":
	case !isReference:
		c.fail(path, "expected a reference, %s; do not write %s itself into the configuration", referenceForms, what)
	case err != nil:
		c.fail(path, "%v", err)
	}
}

// valueOrReference checks a value that may be a reference. It returns whether it is the value
// itself.
func (c checker) valueOrReference(path, text string) (literal bool) {
	_, isReference, err := ParseReference(text)
	if err != nil {
		c.fail(path, "%v", err)
	}
	return !isReference
}
