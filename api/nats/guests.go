package nats

import (
	"fmt"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
)

// Guests have an account of their own at the embedded server, because limits of a message belong to
// accounts. It exports the subjects with guests to the account of all others.
const (
	guestAccount    = "GUESTS"
	maxGuestPayload = 256 << 10 // bytes of a message
)

// openGuestAccount makes the account, before our own client subscribes. It returns nil without
// subjects for guests, and if authentication is disabled: then all clients are equal.
func (e *embedded) openGuestAccount() (*server.Account, error) {
	if e.o.Authenticator == nil {
		return nil, nil
	}
	var account *server.Account
	for _, s := range e.o.Subjects {
		if !s.Guests {
			continue
		}
		if account == nil {
			var err error
			if account, err = e.server.RegisterAccount(guestAccount); err != nil {
				return nil, fmt.Errorf("account of guests: %w", err)
			}
			claims := jwt.NewAccountClaims(guestAccount)
			claims.Limits.Payload = min(maxGuestPayload, int64(e.o.Embedded.MaxPayload))
			e.server.UpdateAccountClaims(account, claims)
		}
		if err := account.AddStreamExport(s.Subject, nil); err != nil {
			return nil, fmt.Errorf("account of guests: exporting %q: %w", s.Subject, err)
		}
		if err := e.server.GlobalAccount().AddStreamImport(account, s.Subject, ""); err != nil {
			return nil, fmt.Errorf("account of guests: importing %q: %w", s.Subject, err)
		}
	}
	return account, nil
}
