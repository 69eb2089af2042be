package source

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ringstore/ringstore/configs/secureurl"
	"github.com/ringstore/ringstore/configs/smallfile"
)

const maxRedirects = 3

// newClient returns a client that follows at most maxRedirects redirects, only to URLs that are
// permitted themselves, on the host that redirects.
func newClient(o Options, w *Watcher) *http.Client {
	transport := o.Transport
	if transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.MaxResponseHeaderBytes = 64 << 10
		own.MaxIdleConnsPerHost = 1
		d := &dialer{proxies: make(map[string]struct{})}
		own.Proxy, own.DialContext = d.proxy, d.dial
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
			if !strings.EqualFold(r.URL.Hostname(), via[0].URL.Hostname()) {
				return errors.New("redirected to another host")
			}
			return secure(r.URL)
		},
	}
}

// dialer connects to no address of this machine or its link, except those of hosts that the
// configuration names: neither a name server nor a provider may make this program talk to what only
// it can reach, such as a cloud's metadata service.
type dialer struct {
	mu      sync.Mutex
	proxies map[string]struct{} // host:port; they are configured too
}

// configuredHost is the key of a context's value: the host of the URL that the configuration has.
type configuredHost struct{}

func (d *dialer) proxy(r *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(r)
	if u != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.proxies[proxyAddress(u)] = struct{}{}
	}
	return u, err
}

// proxyAddress returns what net/http dials for a proxy.
func proxyAddress(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	own := net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second} // as http.DefaultTransport
	d.mu.Lock()
	_, isProxy := d.proxies[address]
	d.mu.Unlock()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	configured, _ := ctx.Value(configuredHost{}).(string)
	if !isProxy && !strings.EqualFold(host, configured) && !isLocalHost(configured) {
		own.Control = refuseLocal
	}
	return own.DialContext(ctx, network, address)
}

// refuseLocal refuses the address that a name was resolved to.
func refuseLocal(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err == nil && isLocal(at.Addr()) {
		err = errors.New("the host is on this machine or its link")
	}
	return err
}

func isLocalHost(host string) bool {
	at, err := netip.ParseAddr(host)
	return secureurl.IsLoopback(host) || err == nil && isLocal(at)
}

func isLocal(at netip.Addr) bool {
	at = at.Unmap()
	return at.IsLoopback() || at.IsUnspecified() || at.IsLinkLocalUnicast() || at.IsLinkLocalMulticast() || at.IsInterfaceLocalMulticast()
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
	url        string
	configured string // host of the URL in the configuration; empty: that of url
	etag       string
	data       []byte
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
	request = request.WithContext(context.WithValue(ctx, configuredHost{}, cmp.Or(d.configured, request.URL.Hostname())))
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
		d.keys = document{url: uri, configured: d.host()}
	}
	keys, err := d.keys.fetch(ctx, client)
	if err != nil {
		return found{}, fmt.Errorf("key set of the discovery document: %w", err)
	}
	return keys, nil
}

// host returns the issuer's host.
func (d *discovery) host() string {
	u, err := url.Parse(d.issuer)
	if err != nil {
		return ""
	}
	return u.Hostname()
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
	if isLocalHost(u.Hostname()) && !isLocalHost(d.host()) {
		return "", errors.New("its \"jwks_uri\" is on this machine or its link")
	}
	return uri, secure(u)
}
