// Package secureurl decides which URLs are safe to send secrets to and to load keys from.
package secureurl

import (
	"net"
	"net/url"
	"strings"
)

// IsSecure reports whether others on the network cannot read or change the traffic: u is an https
// URL, or an http URL of this machine.
func IsSecure(u *url.URL) bool {
	return u.Scheme == "https" && u.Host != "" || u.Scheme == "http" && IsLoopback(u.Hostname())
}

// IsLoopback reports whether a host name or IP address is that of this machine's loopback
// interface.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
