package web

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// Refuse answers a request that is not let through, in the front end's own way. The statuses are 403 (another site),
// 404 (a path that is none) and 500 (a panic).
type Refuse func(w http.ResponseWriter, r *http.Request, status int)

// Wrap puts around a front end what every answer needs: a request id, the client to whom failures are counted, headers that keep browsers from guessing, CORS for
// the listed origins, protection of the cookie from other sites, an answer even to a panic, and one line in the log. The
// line names the path without the query, where tokens travel. What open names is for other sites to send, too: it must look at
// no cookie.
func (s *Site) Wrap(h http.Handler, log *slog.Logger, refuse Refuse, open ...func(*http.Request) bool) http.Handler {
	opened := func(r *http.Request) bool {
		return slices.ContainsFunc(open, func(of func(*http.Request) bool) bool { return of(r) })
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		id := rand.Text()
		r = r.WithContext(auth.WithClient(context.WithValue(r.Context(), requestID{}, id), s.Client(r)))
		answer := &recorder{ResponseWriter: w}
		s.headers(answer, r, id)
		defer func() {
			if p := recover(); p != nil {
				log.Error("panic", "request_id", id, "panic", p, "stack", string(debug.Stack()))
				if answer.status == 0 {
					refuse(answer, r, http.StatusInternalServerError)
				}
			}
			log.Info("request", "request_id", id, "method", r.Method, "path", r.URL.Path, "status", answer.status,
				"ms", time.Since(start).Milliseconds(), "ip", s.address(r))
		}()
		switch {
		case !proper(r):
			refuse(answer, r, http.StatusNotFound)
		case preflight(r):
			answer.WriteHeader(http.StatusNoContent)
		case s.guarded(r) && s.guard.Check(r) != nil && !opened(r):
			refuse(answer, r, http.StatusForbidden)
		default:
			h.ServeHTTP(answer, r)
		}
	})
}

type requestID struct{}

// RequestID names the request of the context, in its answer and in the log.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestID{}).(string)
	return id
}

// proper reports whether the path is one that every router reads alike: clean, text, without encoded separators.
func proper(r *http.Request) bool {
	p := r.URL.Path
	if !utf8.ValidString(p) || strings.ContainsRune(p, 0) || strings.Contains(strings.ToLower(r.URL.RawPath), "%2f") {
		return false
	}
	return p == "/" || (strings.HasPrefix(p, "/") && path.Clean(p) == p)
}

func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// guarded reports whether the request acts with the cookie, or may be given one. One that proves itself by a bearer token
// alone needs no protection: no other site can make a browser send that, as it can Basic or Negotiate credentials.
func (s *Site) guarded(r *http.Request) bool {
	_, bearer := Bearer(r)
	return s.Cookie(r) != "" || !bearer
}

// Bearer returns the token of the request's Authorization header; ok is false if that is of another scheme or not there
// (RFC 6750, 2.1).
func Bearer(r *http.Request) (token string, ok bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

func (s *Site) headers(w http.ResponseWriter, r *http.Request, id string) {
	h := w.Header()
	h.Set("X-Request-Id", id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Add("Vary", "Origin")
	if s.secure {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	origin := r.Header.Get("Origin")
	if origin == "" || !slices.Contains(s.options.CORSOrigins, origin) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After")
	if preflight(r) {
		h.Set("Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE")
		h.Set("Access-Control-Max-Age", "600")
		h.Add("Vary", "Access-Control-Request-Headers")
		if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
			h.Set("Access-Control-Allow-Headers", asked)
		}
	}
}

// recorder remembers the status for the log.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach what is underneath.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
