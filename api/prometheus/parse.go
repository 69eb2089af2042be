package prometheus

import (
	"net/http"
)

func (a *API) parseQuery(w http.ResponseWriter, r *http.Request, _ Caller) error {
	return nil
}
