// Package explain prints what the configuration makes of a token.
package explain

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/configs"
)

// Print writes an explanation, one fact per line. Control characters are escaped, so a token cannot
// move the terminal's cursor.
func Print(w io.Writer, e *auth.Explanation) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, configs.Printable(fmt.Sprintf(format, args...)))
	}
	if e.Issuer != "" {
		row("issuer", "%s", e.Issuer)
	}
	for _, c := range e.Checks {
		switch {
		case c.Code == "":
			row(c.Name, "passed")
		case c.Detail == "":
			row(c.Name, "FAILED: %s", c.Code)
		default:
			row(c.Name, "FAILED: %s: %s", c.Code, c.Detail)
		}
	}
	for _, key := range e.Tried {
		if key == e.Key {
			row("signed with", "%s", key)
		} else {
			row("tried", "%s", key)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Claims)) {
		value, err := json.Marshal(e.Claims[name])
		if err != nil {
			return err
		}
		row("claim "+configs.Printable(name), "%s%s", value, date(name, e.Claims[name]))
	}
	if e.Principal != nil {
		printPrincipal(row, e.Principal)
	}
	for _, p := range e.May {
		row("may "+p.Action.String(), "%s", where(p.Clusters))
	}
	row("verdict", "%s", map[bool]string{true: "accepted", false: "refused; the claims above are unverified"}[e.Accepted])
	return t.Flush()
}

func printPrincipal(row func(name, format string, args ...any), p *auth.Principal) {
	row("principal", "%s", p.Subject)
	row("roles", "%s", p.Roles)
	for _, l := range p.Limited {
		row("role "+l.Role.String(), "on %s only", strings.Join(l.Clusters, ", "))
	}
	if p.Clusters != nil {
		row("clusters", "%s", strings.Join(p.Clusters, ", "))
	}
	if p.JobUser != "" {
		row("cluster user", "%s", p.JobUser)
	}
	if len(p.Projects) > 0 {
		row("projects", "%s", strings.Join(p.Projects, ", "))
	}
}

func where(set auth.ClusterSet) string {
	if set.All() {
		return "everywhere"
	}
	return "on " + strings.Join(set.Names(), ", ")
}

// date returns a NumericDate claim as a readable date, "" for other claims.
func date(name string, value any) string {
	number, _ := value.(json.Number)
	seconds, err := number.Float64()
	if err != nil || !slices.Contains([]string{"exp", "nbf", "iat"}, name) || seconds < 0 || seconds > 253402300799 {
		return ""
	}
	return " (" + time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339) + ")"
}
