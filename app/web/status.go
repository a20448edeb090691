package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// Status is the one place where a kind of fault becomes a status.
func Status(k fault.Kind) int {
	switch k {
	case fault.Invalid, fault.NotAllowed:
		return http.StatusBadRequest
	case fault.Unauthorized:
		return http.StatusUnauthorized
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Duplicate:
		return http.StatusUnprocessableEntity
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.Unsupported:
		return http.StatusUnsupportedMediaType
	case fault.TooMany:
		return http.StatusTooManyRequests
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// SetRetryAfter says in whole seconds, rounded up, how long the caller should wait (RFC 9110, 10.2.3); zero says nothing.
func SetRetryAfter(w http.ResponseWriter, wait time.Duration) {
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
}
