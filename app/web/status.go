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

// kinds are the kinds of fault that have a status of their own.
var kinds = []fault.Kind{fault.Invalid, fault.Unauthorized, fault.Forbidden, fault.NotFound, fault.Conflict, fault.Duplicate,
	fault.TooLarge, fault.Unsupported, fault.TooMany, fault.Unavailable}

// Kind is the kind of fault that a status stands for.
func Kind(status int) fault.Kind {
	for _, k := range kinds {
		if Status(k) == status {
			return k
		}
	}
	return fault.Internal
}

// RetryAfter is what SetRetryAfter has said; zero: nothing.
func RetryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(n) * time.Second
}
