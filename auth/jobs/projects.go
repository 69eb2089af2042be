package jobs

import (
	"fmt"
	"slices"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/internal/object"
)

// MaxProjects is the maximum size of a projects file in bytes.
const MaxProjects = 8 << 20

const maxProjectItems = 1 << 19

// ParseProjects reads the projects of job users, such as {"ann": ["p1", "p2"]}. A user may have
// none. Anything else than names is an error, which names the user.
func ParseProjects(data []byte) (map[string][]string, error) {
	if len(data) > MaxProjects {
		return nil, fmt.Errorf("expected at most %d bytes", MaxProjects)
	}
	members, err := object.Read(data, maxProjectItems)
	if err != nil {
		return nil, fmt.Errorf(`expected an object like {"ann": ["p1", "p2"]}: %w`, err)
	}
	projects := make(map[string][]string, len(members))
	for user, value := range members {
		if !auth.IsName(user) {
			return nil, fmt.Errorf("a user is not a valid name: %.300q", user)
		}
		list, ok := value.([]any)
		if !ok {
			return nil, fmt.Errorf("%q: expected an array of projects", user)
		}
		for i, item := range list {
			name, ok := item.(string)
			if !ok || !auth.IsName(name) {
				return nil, fmt.Errorf("%q[%d]: expected the name of a project", user, i)
			}
			projects[user] = append(projects[user], name)
		}
	}
	return projects, nil
}

// SetProjects replaces the projects of job users, which count in addition to those of their tokens.
// The caller does not change them afterwards.
func (ix *Index) SetProjects(projects map[string][]string) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.projects = projects
}

// Projects returns the projects of a user, sorted: those of the token and those of
// [Index.SetProjects]. A nil index knows the token's only. An empty user has no others.
func (ix *Index) Projects(user string, claimed []string) []string {
	if ix == nil || user == "" {
		return claimed
	}
	ix.mu.RLock()
	known := ix.projects[user]
	ix.mu.RUnlock()
	if len(known) == 0 {
		return claimed
	}
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(claimed, known))))
}
