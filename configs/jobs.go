package configs

import (
	"net"
	"net/url"
	"strings"
	"time"
)

// Jobs is "auth.jobs": who knows which jobs run where.
type Jobs struct {
	Backend BackendJobs `json:"backend"`
}

// BackendJobs is "auth.jobs.backend": how the cc-backend of main.backend-url is asked.
type BackendJobs struct {
	// Token is a [Reference] to the token of role api. Without one the backend is not asked.
	Token string `json:"token"`
	// PollInterval is the time between two questions, at least a second. Default 30 s.
	PollInterval time.Duration `json:"poll-interval"`
}

// backend checks main.backend-url and what it is asked with.
func (c checker) backend() {
	const urlPath, tokenPath = "main.backend-url", "auth.jobs.backend.token"
	address, b := c.config.Main.BackendURL, c.config.Auth.Jobs.Backend
	if b.PollInterval < time.Second {
		c.fail("auth.jobs.backend.poll-interval", "must be at least 1s")
	}
	c.reference(tokenPath, b.Token, "a token")
	if c.found.skips(tokenPath) {
		return
	}
	u, err := url.Parse(address)
	usable := err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
	switch {
	case address == "" && b.Token != "":
		c.warn(tokenPath, "has no effect without main.backend-url")
	case address == "":
	case !usable && b.Token != "":
		c.fail(urlPath, "must be an absolute URL such as https://monitoring.example.org")
	case !usable:
		c.warn(urlPath, "cannot be asked: not an absolute URL such as https://monitoring.example.org")
	case b.Token == "":
		c.warn(urlPath, "is not asked where jobs run: auth.jobs.backend.token is missing")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		c.warn(urlPath, "is http: whoever is on the way there can read the token")
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
