package rest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Clients of InfluxDB probe a server before they write to it: they ping it, ask for its health
// (Proxmox), or create their database (Telegraf).

const (
	pingPath         = "/ping"
	influxHealthPath = "/health"
)

// influxVersion is the version of InfluxDB whose write API we have. Clients that ping treat an
// answer without a version as a failure (influxdb-java, influxdb-python). Our own version is nobody's
// business without a token.
const influxVersion = "1.8.10"

func setInfluxHeaders(w http.ResponseWriter) {
	w.Header().Set("X-Influxdb-Build", "OSS")
	w.Header().Set("X-Influxdb-Version", influxVersion)
}

// ping answers /ping: the process responds.
func ping(w http.ResponseWriter, _ *http.Request) error {
	setInfluxHeaders(w)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// influxHealth answers InfluxDB's /health: 200 means that writes and queries are accepted, like
// /-/ready.
func (h *Handler) influxHealth(w http.ResponseWriter, _ *http.Request) error {
	health := struct {
		Name    string     `json:"name"`
		Message string     `json:"message"`
		Status  string     `json:"status"`
		Checks  []struct{} `json:"checks"`
	}{"influxdb", "ready for queries and writes", "pass", []struct{}{}}
	status := http.StatusOK
	if f := h.unready(); f != nil {
		health.Message, health.Status, status = f.public, "fail", f.status
		w.Header().Set("Retry-After", retryAfter(retryTime))
	}
	body, err := json.Marshal(health)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", contentJSON)
	w.WriteHeader(status)
	_, err = w.Write(append(body, '\n'))
	return err
}

// unready returns why queries or writes are not accepted now, or nil.
func (h *Handler) unready() *failure {
	if err := h.Ready(); err != nil {
		return notReady(err)
	}
	if err := h.Writable(); err != nil {
		return unavailable(err)
	}
	return nil
}

// queryBytes bounds the body of /query.
const queryBytes = 64 << 10

// createDatabase matches InfluxQL's CREATE DATABASE, alone or as the first statement of several.
var createDatabase = regexp.MustCompile(`(?i)^\s*CREATE\s+DATABASE\s+(?:IF\s+NOT\s+EXISTS\s+)?` + identifier +
	`(?:\s+WITH(?:\s+(?:(?:SHARD\s+)?DURATION\s+\w+|REPLICATION\s+\d+|NAME\s+` + identifier + `))+)?\s*(?:;\s*|$)`)

const identifier = `(?:"(?:[^"\\\n]|\\.)+"|[A-Z_]\w*)`

// influxQuery answers /query: InfluxDB's query language, of which only CREATE DATABASE is accepted.
// It does nothing: every database is there already, as a cluster begins with its first sample.
func (h *Handler) influxQuery(w http.ResponseWriter, r *http.Request) error {
	statements, err := h.influxStatements(w, r)
	if err != nil {
		return err
	}
	type result struct {
		Statement int `json:"statement_id"`
	}
	var results []result
	for rest := statements; strings.TrimSpace(rest) != ""; {
		statement := createDatabase.FindString(rest)
		if statement == "" || r.Method != http.MethodPost {
			return badRequest("InfluxQL is not supported, except CREATE DATABASE with POST; to read samples use /api/query")
		}
		results = append(results, result{len(results)})
		rest = rest[len(statement):]
	}
	if len(results) == 0 {
		return badRequest(`missing required parameter "q"`)
	}
	body, err := json.Marshal(map[string]any{"results": results})
	if err != nil {
		return err
	}
	setInfluxHeaders(w)
	w.Header().Set("Content-Type", contentJSON)
	_, err = w.Write(append(body, '\n'))
	return err
}

// influxStatements returns the parameter q, of the URL or of a form.
func (h *Handler) influxStatements(w http.ResponseWriter, r *http.Request) (string, error) {
	if q := r.URL.Query().Get("q"); q != "" {
		return q, nil
	}
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(kind) != "application/x-www-form-urlencoded" {
		return "", nil
	}
	b, err := h.open(w, r, min(queryBytes, h.Limits.BodyBytes))
	if err != nil {
		return "", err
	}
	defer b.Close()
	text, err := io.ReadAll(b)
	if err != nil {
		return "", err
	}
	form, err := url.ParseQuery(string(text))
	if err != nil {
		return "", badRequest("the body is not a form")
	}
	return form.Get("q"), nil
}
