package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ringstore/ringstore/configs/secureurl"
	"github.com/ringstore/ringstore/configs/smallfile"
)

const maxRedirects = 3

// newClient returns a client that follows at most maxRedirects redirects, only to URLs that are
// permitted themselves.
func newClient(o Options, w *Watcher) *http.Client {
	transport := o.Transport
	if transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.MaxResponseHeaderBytes = 64 << 10
		own.MaxIdleConnsPerHost = 1
		w.transport, transport = own, own
	}
	return &http.Client{
		Transport: transport,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("more than %d redirects", maxRedirects)
			}
			if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
				return errors.New("redirected from https to " + r.URL.Scheme)
			}
			return secure(r.URL)
		},
	}
}

// secure says what is wrong with a URL that keys are to come from: nobody on the way may change
// them.
func secure(u *url.URL) error {
	if !secureurl.IsSecure(u) {
		return errors.New("the URL must be https, or http on loopback")
	}
	return nil
}

// document is a URL, with its last response for conditional requests (RFC 9110, section 13.1.2).
type document struct {
	url  string
	etag string
	data []byte
}

func (d *document) fetch(ctx context.Context, client *http.Client) (found, error) {
	response, err := d.get(ctx, client)
	if err != nil {
		return found{}, err
	}
	defer response.Body.Close()
	fresh := freshness(response.Header)
	switch {
	case response.StatusCode == http.StatusNotModified && d.etag != "":
		return found{d.data, fresh}, nil
	case response.StatusCode != http.StatusOK:
		return found{}, fmt.Errorf("status %d", response.StatusCode)
	}
	data, err := smallfile.ReadAll(response.Body, MaxBytes)
	if err != nil {
		return found{}, err
	}
	d.etag, d.data = response.Header.Get("ETag"), data
	return found{data, fresh}, nil
}

func (d *document) get(ctx context.Context, client *http.Client) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
	if err != nil {
		return nil, err
	}
	if err := secure(request.URL); err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json, application/jwk-set+json")
	if d.etag != "" {
		request.Header.Set("If-None-Match", d.etag)
	}
	response, err := client.Do(request)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return nil, failed.Err // without the URL, which may be the target of a redirect
	}
	return response, err
}

// freshness returns Cache-Control's max-age minus Age (RFC 9111, sections 4.2 and 5.2.2.1); 0 if
// absent or expired.
func freshness(header http.Header) time.Duration {
	for directive := range strings.SplitSeq(header.Get("Cache-Control"), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if !strings.EqualFold(name, "max-age") {
			continue
		}
		seconds, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 32)
		if err != nil {
			return 0
		}
		age, _ := strconv.ParseInt(header.Get("Age"), 10, 32)
		return max(0, time.Duration(seconds-max(0, age))*time.Second)
	}
	return 0
}

// discovery is the JWK set named in a provider's discovery document.
type discovery struct {
	issuer   string
	metadata document
	keys     document
}

// wellKnown returns the URL of an issuer's discovery document (OpenID Connect Discovery 1.0,
// section 4.1).
func wellKnown(issuer string) string {
	return strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
}

func (d *discovery) fetch(ctx context.Context, client *http.Client) (found, error) {
	metadata, err := d.metadata.fetch(ctx, client)
	if err != nil {
		return found{}, fmt.Errorf("discovery document: %w", err)
	}
	uri, err := d.keysURL(metadata.data)
	if err != nil {
		d.metadata = document{url: d.metadata.url} // do not keep the wrong document by its ETag
		return found{}, fmt.Errorf("discovery document: %w", err)
	}
	if uri != d.keys.url {
		d.keys = document{url: uri}
	}
	keys, err := d.keys.fetch(ctx, client)
	if err != nil {
		return found{}, fmt.Errorf("key set of the discovery document: %w", err)
	}
	return keys, nil
}

// keysURL returns the document's jwks_uri, after checking its issuer (section 4.3).
func (d *discovery) keysURL(metadata []byte) (string, error) {
	var members map[string]json.RawMessage // a struct's fields would match regardless of case
	if err := json.Unmarshal(metadata, &members); err != nil {
		return "", errors.New("not a JSON object")
	}
	var issuer, uri string
	if json.Unmarshal(members["issuer"], &issuer) != nil || issuer != d.issuer {
		return "", errors.New("is another issuer's: its \"issuer\" is not exactly the one that is configured")
	}
	if json.Unmarshal(members["jwks_uri"], &uri) != nil || uri == "" {
		return "", errors.New("has no \"jwks_uri\"")
	}
	u, err := url.Parse(uri)
	if err != nil {
		return "", errors.New("its \"jwks_uri\" is no URL")
	}
	if own, _ := url.Parse(d.issuer); own != nil && own.Scheme == "https" && u.Scheme != "https" {
		return "", errors.New("its \"jwks_uri\" is not https")
	}
	return uri, secure(u)
}
