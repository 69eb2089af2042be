package configs

import "strings"

// withoutEffect maps keys of cc-metric-store, or of an older version of it, that have no effect
// here to the warning for an operator who sets one; empty: no warning.
var withoutEffect = map[string]string{
	"main.debug.dump-to-file":              "has no effect; /api/debug shows the same",
	"metric-store.debug.dump-to-file":      "has no effect; /api/debug shows the same",
	"main.debug.enable-gops":               `has no effect; use "gops"`,
	"metric-store.debug.enable-gops":       `has no effect; use "gops"`,
	"metric-store.checkpoints.file-format": "",
	"metric-store.checkpoints.interval":    `has no effect; write "checkpoint-interval" in "metric-store"`,
	"metric-store.checkpoints.restore":     `has no effect; "retention-in-memory" is restored`,
	"metric-store.cleanup.interval":        `has no effect; "retention-in-memory" controls the cleanup`,
}

// elsewhere maps keys that operators may expect in the wrong place to the hint where they are.
var elsewhere = map[string]string{
	"main.disable-authentication": `; to switch authentication off, set "auth": {"disabled": true}`,
	"nats.subscriptions":          `; subscriptions are in "metric-store", as "nats-subscriptions"`,
	"metric-store.archive":        `; it is called "cleanup"`,
}

// suggestion returns the end of the message about an unknown key.
func suggestion(path, key string, known []string) string {
	if hint, found := elsewhere[path]; found {
		return hint
	}
	if nearest := didYouMean(key, known); nearest != "" {
		return nearest
	}
	return "; known here: " + strings.Join(known, ", ")
}

// didYouMean suggests the known key that is most similar to key, if one is similar enough.
func didYouMean(key string, known []string) string {
	nearest := Nearest(key, known)
	if nearest == "" {
		return ""
	}
	return "; did you mean " + quote(nearest) + "?"
}

// Nearest returns the known name that is most similar to a mistyped one, or "" if none is similar
// enough. It ignores letter case and how words are joined.
func Nearest(name string, known []string) string {
	if len(name) > maxQuoted {
		return ""
	}
	written := spelling(name)
	nearest, minDistance := "", 2+len(name)/4
	for _, k := range known {
		if d := distance(written, spelling(k)); d < minDistance || d == minDistance && k < nearest {
			nearest, minDistance = k, d
		}
	}
	return nearest
}

// spelling removes differences that do not matter: letter case, and how words are joined.
func spelling(key string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(key))
}

// distance returns the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
