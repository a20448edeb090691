package httpapi

import (
	"net/http"
	"net/url"

	"github.com/latchkey-go/latchkey/modules/user"
)

// ReadUserFilter reads the query string of a list of users.
func ReadUserFilter(raw string) (user.Filter, error) {
	_, f, err := readList(&call{Request: &http.Request{URL: &url.URL{RawQuery: raw}}}, userFilters)
	return f, err
}

// Routes are the endpoints there are, each as method and path.
func Routes() (patterns []string) {
	for _, r := range new(API).routes() {
		patterns = append(patterns, r.method+" "+r.path)
	}
	return patterns
}

// CheckGuard says what New says of a route that wants the permission.
func CheckGuard(permission string) error {
	return route{"GET", "/x", may(permission), handler{}}.check()
}
