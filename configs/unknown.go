package configs

import (
	"strings"
)

// withoutEffect are keys that cc-metric-store has, or had in an older version, and that change nothing here: what to
// tell an operator who sets one, if anything.
var withoutEffect = map[string]string{
	"main.debug.dump-to-file":              "has no effect; /api/debug shows the same",
	"metric-store.debug.dump-to-file":      "has no effect; /api/debug shows the same",
	"main.debug.enable-gops":               `has no effect; write "gops"`,
	"metric-store.debug.enable-gops":       `has no effect; write "gops"`,
	"metric-store.checkpoints.file-format": "",
	"metric-store.checkpoints.interval":    `has no effect; write "checkpoint-interval" in "metric-store"`,
	"metric-store.checkpoints.restore":     `has no effect; "retention-in-memory" is restored`,
	"metric-store.cleanup.interval":        `has no effect; "retention-in-memory" controls the cleanup`,
}

// elsewhere are keys that operators look for in a place where they are not.
var elsewhere = map[string]string{
	"main.disable-authentication": `; to switch authentication off, set "auth": {"disabled": true}`,
	"nats.subscriptions":          `; subscriptions are in "metric-store", as "nats-subscriptions"`,
	"metric-store.archive":        `; it is called "cleanup"`,
}

// suggestion ends the message about an unknown key.
func suggestion(path, key string, known []string) string {
	if hint, found := elsewhere[path]; found {
		return hint
	}
	if nearest := didYouMean(key, known); nearest != "" {
		return nearest
	}
	return "; known here: " + strings.Join(known, ", ")
}

// didYouMean names the known key that is nearest to key, if one is near enough to be meant.
func didYouMean(key string, known []string) string {
	if len(key) > maxQuoted {
		return ""
	}
	written := spelling(key)
	nearest, least := "", 2+len(key)/4
	for _, k := range known {
		if d := distance(written, spelling(k)); d < least || d == least && k < nearest {
			nearest, least = k, d
		}
	}
	if nearest == "" {
		return ""
	}
	return "; did you mean " + quote(nearest) + "?"
}

// spelling takes away what people write differently: letter case, and how words are joined.
func spelling(key string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(key))
}

// distance is how many bytes must be inserted, removed or replaced to make b of a (Levenshtein).
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
