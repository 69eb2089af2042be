package keyring

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/jwk"
	"github.com/ringstore/ringstore/auth/source"
)

// part is the content of one source of an issuer: public keys or shared secrets.
type part struct {
	from     string // names the source, unique within the issuer
	read     bool   // the source was read; its keys may all be withdrawn
	keys     []jwk.Key
	shared   []auth.Secret
	unusable []string // entries of a JWK set that were passed over, and why
}

// keep takes over the content of the same source from before, unless this one was read.
func (p *part) keep(before []part) {
	n := slices.IndexFunc(before, func(b part) bool { return b.from == p.from })
	if n >= 0 && !p.read {
		*p = before[n]
	}
}

func merge(parts []part) (keys []jwk.Key, shared []auth.Secret) {
	for _, p := range parts {
		keys = append(keys, p.keys...)
		shared = append(shared, p.shared...)
	}
	return keys, shared
}

// parser parses the content of a source.
type parser func(data []byte) (part, error)

// adder adds the sources of one issuer to a generation.
type adder struct {
	generation *generation
	entry      *entry
	log        *slog.Logger
}

// add adds every source that an issuer has, and parses the keys that the options themselves hold.
func (a adder) add(i Issuer) error {
	keys := func(data []byte) (part, error) { return parseKeys(data, i.KeyID) }
	errs := []error{a.value(i.Ed25519Key, parseEd25519), a.value(i.PublicKey, keys)}
	if i.PublicKeyFile != "" {
		a.file(i.PublicKeyFile, keys)
	}
	if i.JWKSFile != "" {
		a.file(i.JWKSFile, parseSet)
	}
	for _, url := range i.JWKSURLs {
		a.remote(source.URL(url, a.part("URL "+url, parseSet)))
	}
	if i.Discovery {
		a.remote(source.Discovery(i.Issuer.Issuer, a.part("discovery", parseSet)))
	}
	return errors.Join(append(errs, a.value(i.SharedSecret, parseSecret))...)
}

// part adds an empty part, and returns the function that sets its content. A JWK set without a
// usable key is refused, and its previous keys are dropped: their issuer has withdrawn them.
func (a adder) part(from string, parse parser) source.Apply {
	e, n := a.entry, len(a.entry.parts)
	e.parts = append(e.parts, part{from: from})
	logged := ""
	return func(data []byte) error {
		content, err := parse(data)
		content.from, content.read = from, true
		if errors.Is(err, jwk.ErrNoKeys) {
			dropped := a.generation.replace(e, n, part{from: from, read: true})
			return errors.Join(fmt.Errorf("issuer %q: %w: %w", e.issuer.Name, err, source.ErrDropped), dropped)
		}
		if err != nil {
			return fmt.Errorf("issuer %q: %w", e.issuer.Name, err)
		}
		if text := strings.Join(content.unusable, "; "); text != logged {
			logged = text
			a.logUnusable(from, content.unusable)
		}
		return a.generation.replace(e, n, content)
	}
}

// maxLogged is how many unusable entries are named in the log.
const maxLogged = 8

func (a adder) logUnusable(from string, entries []string) {
	if len(entries) == 0 {
		return
	}
	named := strings.Join(entries[:min(len(entries), maxLogged)], "; ")
	a.log.Warn("unusable keys in a JWK set; the others are used",
		"issuer", a.entry.issuer.Name, "source", from, "unusable", len(entries), "keys", named)
}

func (a adder) file(path string, parse parser) {
	a.generation.sources = append(a.generation.sources, source.File(path, a.part("file "+path, parse)))
}

func (a adder) remote(s *source.Source) {
	a.generation.sources = append(a.generation.sources, s)
	a.entry.remote = append(a.entry.remote, s)
}

// value adds a value, or the source that it refers to. v may be nil.
func (a adder) value(v *Value, parse parser) error {
	switch {
	case v == nil:
		return nil
	case v.Read == nil:
		if err := a.part(v.Path, parse)(v.Data); err != nil {
			return fmt.Errorf("%s: %w", v.Path, err)
		}
		return nil
	}
	s := source.Reference(v.Path+": "+v.Reference, v.File, v.Read, a.part(v.Reference, parse))
	if v.File != "" {
		a.generation.sources = append(a.generation.sources, s)
		return nil
	}
	a.remote(s)
	return nil
}

// parseEd25519 parses one Ed25519 public key.
func parseEd25519(data []byte) (part, error) {
	key, _, err := auth.ParsePublicKey(data)
	if err != nil {
		return part{}, err
	}
	return checked([]jwk.Key{{Public: key}})
}

// parseKeys parses public keys in any format. If kid is not empty, there must be one key, which
// gets that kid.
func parseKeys(data []byte, kid string) (part, error) {
	set, _, err := jwk.Parse(data)
	if err != nil {
		return part{}, err
	}
	keys := set.Keys
	if kid != "" {
		if len(keys) != 1 || keys[0].ID != "" && keys[0].ID != kid {
			return part{}, errors.New("key-id requires exactly one key without another kid")
		}
		keys[0].ID = kid
	}
	p, err := checked(keys)
	p.unusable = set.Unusable
	return p, err
}

func parseSet(data []byte) (part, error) {
	set, err := jwk.ParseSet(data)
	return part{keys: set.Keys, unusable: set.Unusable}, err
}

func parseSecret(data []byte) (part, error) {
	secret, err := auth.NewSecret("", data)
	return part{shared: []auth.Secret{secret}}, err
}

// checked rejects weak keys. The chain warns of a key whose private half is published.
func checked(keys []jwk.Key) (part, error) {
	for _, key := range keys {
		if err := jwk.Check(key.Public); err != nil && !errors.Is(err, jwk.ErrPublished) {
			return part{}, err
		}
	}
	return part{keys: keys}, nil
}
