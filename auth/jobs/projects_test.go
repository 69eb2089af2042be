package jobs

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseProjects(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		projects, err := ParseProjects([]byte(text))
		got := fmt.Sprint(projects)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%.100s: got %s, want %s", text, got, want)
		}
	}
	f(`{}`, "map[]")
	f(`{"ann": ["p1", "p2"], "bob": []}`, "map[ann:[p1 p2]]")
	const object = `expected an object like {"ann": ["p1", "p2"]}: `
	f(``, object)
	f(`[]`, object)
	f(`null`, object)
	f(`{"ann": ["p1"]} {}`, object)
	f(`{"ann": ["p1"], "ann": []}`, object+"duplicate")
	f(`{"ann": "p1"}`, `"ann": expected an array of projects`)
	f(`{"ann": null}`, `"ann": expected an array of projects`)
	f(`{"ann": {"projects": []}}`, `"ann": expected an array of projects`)
	f(`{"ann": ["p1", 7]}`, `"ann"[1]: expected the name of a project`)
	f(`{"ann": [""]}`, `"ann"[0]: expected the name of a project`)
	f(`{"ann": ["a\nb"]}`, `"ann"[0]: expected the name of a project`)
	f(`{"": ["p"]}`, `a user is not a valid name`)
	f(`{"a\u0000": ["p"]}`, `a user is not a valid name`)
	f(`{"ann":[`+strings.Repeat(`"p",`, maxProjectItems)+`"p"]}`, object+"too many values")
	f(strings.Repeat(" ", MaxProjects+1), "expected at most")
}

// The projects of the file count in addition to the token's, for the job user they are given to.
func TestProjectsOfTheFile(t *testing.T) {
	ix := new(clock).index()
	ok(t, ix.Apply(Report{Job: jobOn("bob", 1, base-1000, base, "h1")}, Report{Job: jobOn("cleo", 2, base-1000, base, "h2")}))
	f := func(user string, claimed []string, hosts, projects string) {
		t.Helper()
		if got := strings.Join(ix.View(user, ix.Projects(user, claimed)).Hosts("emmy"), " "); got != hosts {
			t.Errorf("%s %s sees %q, want %q", user, claimed, got, hosts)
		}
		if got := strings.Join(ix.Projects(user, claimed), " "); got != projects {
			t.Errorf("%s %s: projects %q, want %q", user, claimed, got, projects)
		}
	}
	f("ann", nil, "", "")
	ix.SetProjects(map[string][]string{"ann": {"p-bob", "p-bob"}, "p-cleo": {"x"}, "": {"p-bob"}})
	f("ann", nil, "h1", "p-bob")
	f("ann", []string{"p-cleo", "a"}, "h1 h2", "a p-bob p-cleo")
	f("Ann", nil, "", "")
	f("", nil, "", "")
	f("", []string{"p-cleo"}, "h2", "p-cleo")
	ix.SetProjects(map[string][]string{"ann": {"p-cleo"}})
	f("ann", nil, "h2", "p-cleo")
	ix.SetProjects(nil)
	f("ann", nil, "", "")
	if got := (*Index)(nil).Projects("ann", []string{"p"}); len(got) != 1 {
		t.Error(got)
	}
}
