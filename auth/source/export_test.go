package source

import (
	"context"
	"net"
)

// Dial connects to an address for keys of the host that the configuration names.
func Dial(ctx context.Context, configured, address string) (net.Conn, error) {
	return new(dialer).dial(context.WithValue(ctx, configuredHost{}, configured), "tcp", address)
}
