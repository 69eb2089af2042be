package rest

import (
	_ "embed"
	"net/http"

	"github.com/swaggest/swgui/v5emb"
)

// openapiDocument describes every path except those of the user interface (OpenAPI 3.0.3).
//
//go:embed openapi.json
var openapiDocument []byte

// openapi answers /api/openapi.json.
func openapi(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", contentJSON)
	_, err := w.Write(openapiDocument)
	return err
}

const swaggerPath = "/swagger"

// swagger returns the routes of a user interface for the document. They include a copy of the
// document without a token, because a browser has none when it loads the page.
func swagger() []route {
	get := []string{http.MethodGet, http.MethodHead}
	const document = swaggerPath + "/openapi.json"
	ui := v5emb.NewHandler("RingStore", document, swaggerPath)
	return []route{
		{name: "swagger", path: document, methods: get, serve: openapi},
		{name: "swagger", path: swaggerPath, prefix: true, methods: get, serve: wrapHandler(ui.ServeHTTP)},
	}
}
