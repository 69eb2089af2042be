// Package explain prints what the configuration makes of a token.
package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/jobs"
	"github.com/ringstore/ringstore/cmd/internal/setup"
	"github.com/ringstore/ringstore/configs"
)

// Token verifies a token as the server would, and writes the explanation to w. text is the token,
// or the Authorization or X-Auth-Token header with it. The error says why the token is refused.
func Token(ctx context.Context, cfg *configs.Config, log *slog.Logger, text string, verbose bool, w io.Writer) error {
	ring, err := setup.OpenKeyring(ctx, cfg, log, nil)
	if err != nil {
		return err
	}
	if err := ring.Close(); err != nil { // the keys were just read: there are no newer ones to wait for
		return err
	}
	token, err := bare(text)
	if err != nil {
		return err
	}
	e, verdict := ring.Chain().Explain(ctx, token, setup.Policy(cfg), verbose)
	if e.Principal, err = withProjects(cfg, e.Principal); err != nil {
		return err
	}
	if err := Print(w, e); err != nil {
		return err
	}
	if refusal, ok := errors.AsType[*auth.Refusal](verdict); ok {
		return fmt.Errorf("the token is refused: %s", refusal.Code)
	}
	return verdict
}

// bare returns the token in a text, which may be a whole header line or begin with "Bearer".
func bare(text string) (token string, err error) {
	text = strings.TrimSpace(text)
	name, value, isHeader := strings.Cut(text, ":")
	name = strings.TrimSpace(name)
	switch {
	case isHeader && strings.EqualFold(name, "Authorization"):
		token, err = auth.BearerToken([]string{value}, nil)
	case isHeader && strings.EqualFold(name, "X-Auth-Token"):
		token, err = auth.BearerToken(nil, []string{value})
	case strings.ContainsAny(text, " \t"):
		token, err = auth.BearerToken([]string{text}, nil)
	default:
		return text, nil
	}
	if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
		return "", fmt.Errorf("the token is refused: %s: expected Authorization: Bearer TOKEN", refusal.Code)
	}
	return token, err
}

// withProjects returns p with the projects that the projects file has for its job user.
func withProjects(cfg *configs.Config, p *auth.Principal) (*auth.Principal, error) {
	file := cfg.Auth.Jobs.ProjectsFile
	if p == nil || file == "" {
		return p, nil
	}
	projects, err := setup.ReadProjectsFile(file)
	if err != nil {
		return nil, err
	}
	var ix jobs.Index
	ix.SetProjects(projects)
	more := *p
	more.Projects = ix.Projects(p.JobUser, p.Projects)
	return &more, nil
}

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
	for _, fit := range e.Fits {
		row("fits", "%s, of the issuer %s", fit.Key, fit.Issuer)
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
