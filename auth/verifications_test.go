package auth

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Each verification is counted under its issuer, or under none; answers from a Cache are not.
func TestVerificationsAreCounted(t *testing.T) {
	key := newKey("cc-backend")
	chain := newIssuer(t, trust{}, key)
	counts := func() string {
		var all []string
		chain.Verifications(func(issuer string, code Reason, n uint64) {
			all = append(all, fmt.Sprintf("%s/%s=%d", issuer, code, n))
		})
		if !slices.IsSorted(all) {
			t.Errorf("not sorted: %q", all)
		}
		return strings.Join(all, " ")
	}
	f := func(token, want string) {
		t.Helper()
		cache := NewCache(chain, chain.now)
		for range 3 {
			_, _ = cache.Authenticate(t.Context(), token)
		}
		if got := counts(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	name := ""
	for n := range chain.issuers.Load().byName {
		name = n
	}
	good := sign(key, goodHeader, `{"sub":"alice","exp":1800000600}`)
	f(good, name+"/accepted=1")
	f(sign(newKey("another"), goodHeader, `{"sub":"alice","exp":1800000600}`), name+"/accepted=1 "+name+"/bad_signature=3")
	f(sign(key, goodHeader, `{"sub":"alice","exp":1000000000}`), name+"/accepted=1 "+name+"/bad_signature=3 "+name+"/expired=3")
	f(sign(key, goodHeader, `{"iss":"elsewhere","sub":"alice","exp":1800000600}`),
		"/unknown_issuer=3 "+name+"/accepted=1 "+name+"/bad_signature=3 "+name+"/expired=3")
	f("garbage", "/malformed=3 /unknown_issuer=3 "+name+"/accepted=1 "+name+"/bad_signature=3 "+name+"/expired=3")
	if got, want := func() string { chain = newIssuer(t, trust{}, key); return counts() }(), name+"/accepted=0"; got != want {
		t.Errorf("a new chain: %s, want %s", got, want)
	}
}
