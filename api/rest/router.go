package rest

import (
	"net/http"
	"strings"

	"github.com/gorilla/mux"
)

// endpoint is a path and what answers it.
type endpoint struct {
	path    string // answers with and without one trailing slash
	prefix  bool   // also answers every path below it
	handler http.Handler
}

// newRouter returns a router for endpoints, which are tried in order. Paths are matched as the
// client sent them. Nothing is cleaned or redirected: clients do not repeat a POST after a
// redirect. An encoded spelling of a path (/api/%73tatus) is not found, so a proxy that filters by
// path sees the same path as this router. notFound answers everything that no endpoint matches.
func newRouter(endpoints []endpoint, notFound http.HandlerFunc) (http.Handler, error) {
	r := mux.NewRouter().SkipClean(true)
	r.NotFoundHandler = notFound
	routes := []*mux.Route{r.MatcherFunc(isEncoded).Handler(notFound)}
	for _, e := range endpoints {
		routes = append(routes, r.Path(e.path).Handler(e.handler))
		switch {
		case e.prefix:
			routes = append(routes, r.PathPrefix(e.path+"/").Handler(e.handler))
		case e.path != "/":
			routes = append(routes, r.Path(e.path+"/").Handler(e.handler))
		}
	}
	for _, route := range routes {
		if err := route.GetError(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// isEncoded reports whether the path of a request was sent with percent-encoding. It stands before
// all routes, instead of mux's UseEncodedPath: that decodes the path again for each route, and it
// also lets encoded paths through below a prefix.
func isEncoded(r *http.Request, _ *mux.RouteMatch) bool {
	return r.URL.EscapedPath() != r.URL.Path
}

// noSuchPath is the failure for a path that has no route.
func noSuchPath() *failure {
	return &failure{status: http.StatusNotFound, public: "no such path"}
}

// wrongMethod sets the Allow header and returns the failure for a method that a route does not
// serve.
func wrongMethod(w http.ResponseWriter, allowed []string) *failure {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return &failure{
		status: http.StatusMethodNotAllowed,
		public: "this path accepts only " + strings.Join(allowed, " and "),
	}
}
