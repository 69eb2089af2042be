package rest

import (
	"errors"
	"io"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ringstore/ringstore/api/explorer"
	"github.com/ringstore/ringstore/auth"
)

// route is a path, the permission that it needs, and the function that answers it. An error of
// serve is answered by [Handler.fail].
type route struct {
	name    string // in counters and log lines
	path    string // without its optional trailing slash
	prefix  bool   // also answers every path below it
	methods []string
	action  auth.Action // 0: no token needed
	dialect dialect     // the API that defines the form of tokens and errors
	serve   func(w http.ResponseWriter, r *http.Request) error
}

const (
	healthyPath = "/-/healthy"
	readyPath   = "/-/ready"
)

// routes returns the table of all routes. The first match answers, so a path below a prefix stands
// before that prefix. The busiest routes stand first because matching is linear.
func (h *Handler) routes() []route {
	get := []string{http.MethodGet, http.MethodHead}
	ask := []string{http.MethodGet, http.MethodPost}
	post := []string{http.MethodPost}
	metrics := promhttp.HandlerFor(h.Registry, promhttp.HandlerOpts{DisableCompression: true})
	routes := []route{
		{name: "query", path: "/api/query", methods: ask, action: auth.Query, serve: h.query},
		{name: "write", path: "/api/write", methods: post, action: auth.Write, serve: h.write},
		{name: "influx", path: "/write", methods: post, action: auth.Write, dialect: influx1, serve: h.influxWrite},
		{name: "influx", path: "/api/v2/write", methods: post, action: auth.Write, dialect: influx2, serve: h.influxWrite},
		{name: "free", path: "/api/free", methods: post, action: auth.Free, serve: h.free},
		{name: "debug", path: "/api/debug", methods: ask, action: auth.Debug, serve: h.debug},
		{name: "healthcheck", path: "/api/healthcheck", methods: ask, action: auth.Healthcheck, serve: h.healthcheck},
		{name: "whoami", path: "/api/whoami", methods: get, action: auth.Whoami, serve: h.whoami},
		{name: "openapi", path: "/api/openapi.json", methods: get, action: auth.OpenAPI, serve: openapi},
		{name: "jobs", path: "/api/jobs", methods: get, action: auth.OwnJobs, serve: h.jobs},
		{name: "metrics", path: metricsPath, methods: get, action: auth.Metrics, serve: wrapHandler(metrics.ServeHTTP)},
		{name: "influx", path: "/query", methods: ask, action: auth.Write, dialect: influx1, serve: h.influxQuery},
		{name: "ping", path: pingPath, methods: get, serve: ping},
		{name: "health", path: influxHealthPath, methods: get, serve: h.influxHealth},
		{name: "healthy", path: healthyPath, methods: get, serve: healthy},
		{name: "ready", path: readyPath, methods: get, serve: h.ready},
		{name: "pprof", path: "/debug/pprof/cmdline", methods: get, action: auth.Profile, serve: wrapHandler(pprof.Cmdline)},
		{name: "pprof", path: "/debug/pprof/profile", methods: get, action: auth.Profile, serve: wrapHandler(pprof.Profile)},
		{name: "pprof", path: "/debug/pprof/symbol", methods: ask, action: auth.Profile, serve: wrapHandler(pprof.Symbol)},
		{name: "pprof", path: "/debug/pprof/trace", methods: get, action: auth.Profile, serve: wrapHandler(pprof.Trace)},
		{name: "pprof", path: "/debug/pprof", prefix: true, methods: get, action: auth.Profile, serve: wrapHandler(pprof.Index)},
	}
	if h.Operator != nil {
		routes = append(routes,
			route{name: "status", path: "/api/status", methods: get, action: auth.Status, serve: h.status},
			route{name: "snapshot", path: "/api/snapshot", methods: post, action: auth.Snapshot, serve: h.snapshot},
			route{name: "confirm-clock", path: "/api/confirm-clock", methods: post, action: auth.ConfirmClock, serve: h.confirmClock})
	}
	routes = append(routes, h.prometheusRoutes()...)
	if h.Explorer != nil {
		page := wrapHandler(h.Explorer.ServeHTTP)
		routes = append(routes,
			route{name: "explorer", path: explorer.Path, methods: get, serve: page},
			route{name: "explorer", path: explorer.FilePrefix, prefix: true, methods: get, serve: page})
	}
	if h.SwaggerUI {
		routes = append(routes, swagger()...)
	}
	return routes
}

// isOnMain reports whether the main listener has the route, when the administrators' paths have a
// listener of their own.
func (rt route) isOnMain() bool {
	return rt.action != auth.Status && !rt.action.IsAdministrative()
}

// isOnAdmin reports whether the administrators' own listener has the route.
func (rt route) isOnAdmin() bool { return rt.action != auth.Write }

func (h *Handler) newRouters() error {
	wrapper, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.EnableZstd(false))
	if err != nil {
		return err
	}
	compress := func(handler http.Handler) http.HandlerFunc {
		compressed := wrapper(handler)
		return func(w http.ResponseWriter, r *http.Request) {
			if h.Gzip || h.Explorer != nil && isFromPage(r) {
				compressed(w, r)
				return
			}
			handler.ServeHTTP(w, r)
		}
	}
	var main, admin []endpoint
	for _, rt := range h.routes() {
		h.counters.expect(rt.name)
		serve := http.Handler(compress(h.run(rt)))
		if rt.action == auth.Query {
			serve = h.share(serve)
		}
		e := endpoint{rt.path, rt.prefix, h.guard(rt, serve)}
		if !h.SeparateAdmin || rt.isOnMain() {
			main = append(main, e)
		}
		if rt.isOnAdmin() {
			admin = append(admin, e)
		}
	}
	notFound := func(w http.ResponseWriter, _ *http.Request) { h.fail(w, noSuchPath()) }
	var mainErr, adminErr error
	h.router, mainErr = newRouter(main, notFound)
	h.admin, adminErr = newRouter(admin, notFound)
	return errors.Join(mainErr, adminErr)
}

// isFromPage reports whether a browser sent a request for a page of this server, which only the
// explorer is. Browsers let no script set this header.
func isFromPage(r *http.Request) bool { return r.Header.Get("Sec-Fetch-Site") == "same-origin" }

// guard checks the method and the permission of a request before it calls next.
func (h *Handler) guard(rt route, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := exchangeOf(w)
		x.route, x.dialect = rt.name, rt.dialect
		if !slices.Contains(rt.methods, r.Method) {
			h.fail(w, wrongMethod(w, rt.methods))
			return
		}
		r, err := rt.dialect.authorization(r)
		if err == nil {
			err = h.admit(x, r, rt.action)
		}
		if err != nil {
			h.fail(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (h *Handler) run(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := rt.serve(w, r); err != nil {
			h.fail(w, err)
		}
	})
}

// wrapHandler adapts a handler that answers its own errors.
func wrapHandler(f http.HandlerFunc) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		f(w, r)
		return nil
	}
}

// ready answers /-/ready. ServeHTTP has already checked [Options.Ready].
func (h *Handler) ready(w http.ResponseWriter, r *http.Request) error {
	if err := h.Writable(); err != nil {
		return unavailable(err)
	}
	if err := checkDescriptors(); err != nil {
		return unavailable(err)
	}
	if err := healthy(w, r); err != nil {
		return err
	}
	for _, note := range h.Notes() {
		if _, err := io.WriteString(w, note+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// healthy answers /-/healthy.
func healthy(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := io.WriteString(w, "ok\n")
	return err
}

// isPolled reports whether a request is for a path that is polled until it answers 200. Its failures
// are no news.
func isPolled(r *http.Request) bool {
	return strings.TrimSuffix(r.URL.EscapedPath(), "/") == readyPath || isProbe(r)
}

// isProbe reports whether a request is for a path that answers before the store is ready. The path
// is compared as the client sent it, as the router does.
func isProbe(r *http.Request) bool {
	switch strings.TrimSuffix(r.URL.EscapedPath(), "/") {
	case healthyPath, pingPath, influxHealthPath:
		return true
	}
	return false
}
