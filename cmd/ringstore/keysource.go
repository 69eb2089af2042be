package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/jwk"
	"github.com/ringstore/ringstore/auth/source"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/configs/secrets"
)

// part is what one source of an issuer's keys holds: keys or shared secrets.
type part struct {
	from   string // which it is, unique within the issuer
	keys   []jwk.Key
	shared []auth.Secret
}

// keep takes over what one of the parts holds that are of the same source,
// unless this one holds something.
func (p *part) keep(before []part) {
	n := slices.IndexFunc(before, func(b part) bool { return b.from == p.from })
	if n >= 0 && len(p.keys)+len(p.shared) == 0 {
		p.keys, p.shared = before[n].keys, before[n].shared
	}
}

func merge(parts []part) (keys []jwk.Key, shared []auth.Secret) {
	for _, p := range parts {
		keys = append(keys, p.keys...)
		shared = append(shared, p.shared...)
	}
	return keys, shared
}

// finder finds out where the keys of one issuer are.
type finder struct {
	ring   *keyring
	entry  *entry
	at     string // the entry's place in the configuration
	reader secrets.Reader
}

// reading makes keys of what a source holds.
type reading func(data []byte) (part, error)

// part adds a source of keys, and returns what it hands its content to.
func (f finder) part(from string, read reading) source.Apply {
	e, n := f.entry, len(f.entry.parts)
	e.parts = append(e.parts, part{from: from})
	return func(data []byte) error {
		now, err := read(data)
		if err != nil {
			return fmt.Errorf("issuer %q: %w", e.issuer.Name, err)
		}
		now.from = from
		return f.ring.replace(e, n, now)
	}
}

// value adds a source that is the configuration itself.
func (f finder) value(path string, data []byte, read reading) error {
	if err := f.part(path, read)(data); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (f finder) file(path string, read reading) {
	f.ring.sources = append(f.ring.sources, source.File(path, f.part("file "+path, read)))
}

// remote adds a source that can be asked for more.
func (f finder) remote(s *source.Source) {
	f.ring.sources = append(f.ring.sources, s)
	f.entry.remote = append(f.entry.remote, s)
}

// follow adds a reference, which read follows.
func (f finder) follow(path string, ref configs.Reference, follow func(context.Context) ([]byte, error), read reading) {
	file := ""
	if ref.Store == configs.StoreFile {
		file = ref.Name
	}
	s := source.Reference(path+": "+ref.String(), file, func(ctx context.Context) ([]byte, error) {
		data, err := follow(ctx)
		if failed, ok := errors.AsType[*secrets.Error](err); ok {
			err = failed.Err // the source's name has the reference
		}
		return data, err
	}, f.part(ref.String(), read))
	if file != "" {
		f.ring.sources = append(f.ring.sources, s)
		return
	}
	f.remote(s)
}

// plainKey adds main.jwt-public-key.
func (f finder) plainKey(text string) error {
	if text == "" {
		return nil
	}
	return f.key("main.jwt-public-key", text, func(data []byte) (part, error) {
		key, _, err := auth.ParsePublicKey(data)
		if err != nil {
			return part{}, err
		}
		return checked([]jwk.Key{{Public: key}})
	})
}

// key adds a key or a reference to one.
func (f finder) key(path, text string, read reading) error {
	ref, isReference, err := configs.ParseReference(text)
	if !isReference || err != nil {
		return errors.Join(err, f.value(path, []byte(text), read))
	}
	f.follow(path, ref, func(ctx context.Context) ([]byte, error) { return f.reader.Read(ctx, text) }, read)
	return nil
}

// find adds all that an entry names.
func (f finder) find(c configs.Issuer) error {
	named := func(data []byte) (part, error) { return parseKeys(data, c.KeyID) }
	var errs []error
	if c.PublicKey != "" {
		errs = append(errs, f.key(f.at+".public-key", c.PublicKey, named))
	}
	if c.PublicKeyFile != "" {
		f.file(c.PublicKeyFile, named)
	}
	if c.JWKSFile != "" {
		f.file(c.JWKSFile, parseSet)
	}
	for _, url := range c.JWKSURLs {
		f.remote(source.URL(url, f.part("URL "+url, parseSet)))
	}
	if c.Discovery {
		f.remote(source.Discovery(c.Issuer, f.part("discovery", parseSet)))
	}
	return errors.Join(append(errs, f.sharedSecret(c.SharedSecret))...)
}

func (f finder) sharedSecret(value configs.Secret) error {
	if value == "" {
		return nil
	}
	path := f.at + ".shared-secret"
	follow := func(ctx context.Context) ([]byte, error) { return f.reader.Key(ctx, value) }
	text, _ := strings.CutPrefix(string(value), "base64:")
	ref, isReference, err := configs.ParseReference(text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if isReference {
		f.follow(path, ref, follow, parseSecret)
		return nil
	}
	data, err := follow(context.Background()) // which reads nothing
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.value(path, data, parseSecret)
}

// parseKeys reads keys in any format. kid is the name of the only one, empty if
// it has none but its own.
func parseKeys(data []byte, kid string) (part, error) {
	keys, _, err := jwk.Parse(data)
	if err != nil {
		return part{}, err
	}
	if kid != "" {
		if len(keys) != 1 || keys[0].ID != "" && keys[0].ID != kid {
			return part{}, errors.New("key-id names one key that has no other name, which this is not")
		}
		keys[0].ID = kid
	}
	return checked(keys)
}

func parseSet(data []byte) (part, error) {
	keys, err := jwk.ParseSet(data)
	return part{keys: keys}, err
}

func parseSecret(data []byte) (part, error) {
	secret, err := auth.NewSecret("", data)
	return part{shared: []auth.Secret{secret}}, err
}

// checked refuses weak keys; one whose private half is published is warned of by
// the chain.
func checked(keys []jwk.Key) (part, error) {
	for _, key := range keys {
		if err := jwk.Check(key.Public); err != nil && !errors.Is(err, jwk.ErrPublished) {
			return part{}, err
		}
	}
	return part{keys: keys}, nil
}
