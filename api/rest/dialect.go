package rest

import (
	"encoding/json"
	"net/http"
	"strings"
)

// dialect is the API that a route speaks, which defines the forms of tokens and of errors. Telegraf
// and InfluxDB's client libraries use the two of InfluxDB
// (https://docs.influxdata.com/influxdb/v1/tools/api/ and .../v2/api/), Grafana and promtool that of
// Prometheus (https://prometheus.io/docs/prometheus/latest/querying/api/).
type dialect int

const (
	ownDialect    dialect = iota
	influx1               // /write
	influx2               // /api/v2/write
	prometheusAPI         // /api/v1
)

// authorization turns the credentials of InfluxDB's clients (the scheme Token, or a password) into
// a bearer token, each value of the header by itself, so that none of them is lost. Credentials in
// the URL are refused, because URLs end up in logs.
func (d dialect) authorization(r *http.Request) (*http.Request, error) {
	if d != influx1 && d != influx2 {
		return r, nil
	}
	for _, name := range []string{"u", "p", "token"} {
		if r.URL.Query().Has(name) {
			return nil, badRequest("URLs end up in logs, so a token in the URL is refused: send the header Authorization: Token ...")
		}
	}
	r = r.Clone(r.Context())
	for i, value := range r.Header["Authorization"] {
		r.Header["Authorization"][i] = asBearer(value)
	}
	return r, nil
}

// asBearer returns an Authorization value with the scheme Token, or Basic with the token as
// password, as one with the scheme Bearer; others as they are.
func asBearer(authorization string) string {
	const scheme = "Token "
	if len(authorization) > len(scheme) && strings.EqualFold(authorization[:len(scheme)], scheme) {
		return "Bearer " + authorization[len(scheme):]
	}
	one := http.Request{Header: http.Header{"Authorization": {authorization}}}
	if _, password, ok := one.BasicAuth(); ok {
		return "Bearer " + password
	}
	return authorization
}

// body is the JSON body of a failure, in the form of this API.
func (d dialect) body(f *failure) []byte {
	var v any
	switch d {
	case prometheusAPI:
		v = prometheusBody(f)
	case influx1:
		v = struct {
			Error string `json:"error"`
		}{f.influxMessage()}
	case influx2:
		v = struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Line    int    `json:"line,omitempty"`
		}{influxCode(f.status), f.influxMessage(), f.firstLine()}
	default:
		return f.body()
	}
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return append(body, '\n')
}
