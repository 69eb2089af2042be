package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/auth/internal/object"
)

func TestResources(t *testing.T) {
	read := func(claim, text string) ([]Resource, error) {
		claims, err := object.Read([]byte(text), 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		return (&issuer{Issuer: Issuer{ResourcesClaim: claim}}).resources(claims)
	}
	bad := func(list string) {
		t.Helper()
		got, err := read("r", `{"r":`+list+`}`)
		if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Code != BadClaims || got != nil {
			t.Errorf("%.200s: %v, %v", list, got, err)
		}
	}
	good := func(claim, text string, want ...Resource) {
		t.Helper()
		got, err := read(claim, text)
		same := func(a, b Resource) bool { return fmt.Sprint(a) == fmt.Sprint(b) }
		if err != nil || !slices.EqualFunc(got, want, same) {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
	one := func(members string) string { return `[{` + members + `}]` }
	bad(`"emmy"`)
	bad(`{}`)
	bad(`["emmy"]`)
	bad(`[null]`)
	bad(one(``))
	bad(one(`"hosts":["h"],"from":1,"to":2`))
	bad(one(`"cluster":"","hosts":["h"],"from":1,"to":2`))
	bad(one(`"cluster":"emmy","from":1,"to":2`))
	bad(one(`"cluster":"emmy","hosts":[],"from":1,"to":2`))
	bad(one(`"cluster":"emmy","hosts":"h","from":1,"to":2`))
	bad(one(`"cluster":"emmy","hosts":["h",5],"from":1,"to":2`))
	bad(one(`"cluster":"emmy","hosts":[""],"from":1,"to":2`))
	bad(one(`"cluster":"emmy","hosts":["h"],"to":2`))
	bad(one(`"cluster":"emmy","hosts":["h"],"from":1`))
	bad(one(`"cluster":"emmy","hosts":["h"],"from":1,"to":null`))
	bad(one(`"cluster":"emmy","hosts":["h"],"from":"1","to":2`))
	bad(one(`"cluster":"emmy","hosts":["h"],"from":2,"to":1`))
	bad(one(`"cluster":"emmy","hosts":["h"],"from":-1,"to":1`))
	bad(one(`"cluster":"emmy","hosts":["h"],"from":1.5,"to":2`))
	bad(one(`"cluster":"emmy","hosts":["h"],"from":1,"to":1e300`))
	bad(`[{"cluster":"emmy","hosts":["h"],"from":1,"to":2},{}]`)
	bad(`[` + strings.Repeat(`{"cluster":"emmy","hosts":["h"],"from":1,"to":2},`, maxResources) + `{"cluster":"emmy","hosts":["h"],"from":1,"to":2}]`)
	bad(one(`"cluster":"emmy","hosts":[` + strings.Repeat(`"h",`, maxResourceHosts) + `"h"],"from":1,"to":2`))

	emmy := Resource{Cluster: "emmy", Hosts: []string{"h1", "h2"}, From: 1, To: 2}
	const text = `[{"cluster":"emmy","hosts":["h1","h2"],"from":1,"to":2,"more":true}]`
	good("r", `{}`)
	good("r", `{"r":null}`)
	good("r", `{"r":[]}`)
	good("r", `{"resources":`+text+`}`)
	good("", `{"":`+text+`,"resources":`+text+`}`) // the issuer may not
	good("r", `{"r":`+text+`}`, emmy)
}
