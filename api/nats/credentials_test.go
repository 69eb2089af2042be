package nats

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// must returns the value of a call that fails only if the test is wrong.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func file(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConnectWithNkey(t *testing.T) {
	user := must(nkeys.CreateUser())
	seed := file(t, "seed", must(user.Seed()))
	broker := runServer(t, server.Options{Nkeys: []*server.NkeyUser{{Nkey: must(user.PublicKey())}}})
	h := newHarness(t)
	h.options.NkeySeedFile = seed
	h.subscribe(broker.ClientURL())
	publish(t, connect(t, broker.ClientURL(), must(natsgo.NkeyOptionFromSeed(seed))), bearer("h"))
	eventually(t, "it is stored", func() bool { return h.stored("h") })
}

func TestConnectWithCredsFile(t *testing.T) {
	operator, account, user := must(nkeys.CreateOperator()), must(nkeys.CreateAccount()), must(nkeys.CreateUser())
	operatorClaims := jwt.NewOperatorClaims(must(operator.PublicKey()))
	accountID := must(account.PublicKey())
	accounts := &server.MemAccResolver{}
	if err := accounts.Store(accountID, must(jwt.NewAccountClaims(accountID).Encode(operator))); err != nil {
		t.Fatal(err)
	}
	userToken := must(jwt.NewUserClaims(must(user.PublicKey())).Encode(account))
	creds := file(t, "ringstore.creds", must(jwt.FormatUserConfig(userToken, must(user.Seed()))))

	broker := runServer(t, server.Options{TrustedOperators: []*jwt.OperatorClaims{operatorClaims}, AccountResolver: accounts})
	h := newHarness(t)
	h.options.CredsFile = creds
	h.subscribe(broker.ClientURL())
	publish(t, connect(t, broker.ClientURL(), natsgo.UserCredentials(creds)), bearer("h"))
	eventually(t, "it is stored", func() bool { return h.stored("h") })
}
