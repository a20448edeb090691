package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// problem is the body of an error: Medusa's fields, and beside them, for programs, the reason and what exactly it is about.
type problem struct {
	Code    string `json:"code,omitempty"`
	Type    string `json:"type,omitempty"`
	Message string `json:"message"`
	Reason  string `json:"reason,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// types are Medusa's type and code for a kind of fault; its status is web.Status.
var types = map[fault.Kind]struct{ typ, code string }{
	fault.Invalid:      {"invalid_data", ""},
	fault.NotAllowed:   {"not_allowed", ""},
	fault.Unauthorized: {"unauthorized", ""},
	fault.Forbidden:    {"forbidden", ""},
	fault.NotFound:     {"not_found", ""},
	fault.Conflict:     {"conflict", "invalid_state_error"},
	fault.Duplicate:    {"duplicate_error", "invalid_request_error"},
	fault.TooLarge:     {"unknown_error", ""},
	fault.Unsupported:  {"invalid_data", ""},
	fault.TooMany:      {"not_allowed", ""},
	fault.Unavailable:  {"unexpected_state", ""},
}

var (
	errNoRoute     = fault.New(fault.NotFound, "no_route", "There is nothing at this path.")
	errNoMethod    = fault.New(fault.NotAllowed, "no_method", "This path does not take this method. The Allow header says which it takes.")
	errOtherSite   = fault.New(fault.Forbidden, "cross_origin", "This request comes from another site. List its origin in http.cors_origins to allow it.")
	errUnavailable = fault.New(fault.Unavailable, "database_unavailable", "The database does not answer. Try again in a moment.")

	// errUnauthorized is what the guards say: Medusa's answer has no type.
	errUnauthorized = errors.New("unauthorized")
)

const internalBody = `{"code":"unknown_error","type":"unknown_error","message":"An unknown error occurred."}`

// fail answers an error. What is not the caller's doing is logged, and its text stays here.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	if on := (onPage{}); errors.As(err, &on) {
		a.failOnPage(w, r, on.error, on.at)
		return
	}
	if looksAtCallback(r) {
		a.failOnPage(w, r, err, "")
		return
	}
	if errors.Is(err, errUnauthorized) {
		a.answer(w, r, http.StatusUnauthorized, problem{Message: "Unauthorized"})
		return
	}
	f, p := problemOf(err)
	if f == nil {
		if !errors.Is(err, context.Canceled) { // the caller has gone
			a.log.Error("request failed", "request_id", web.RequestID(r.Context()), "method", r.Method, "path", r.URL.Path, "error", err)
		}
		p := problem{Code: "unknown_error", Type: "unknown_error", Message: "An unknown error occurred."}
		if hook := new(link.HookError); errors.As(err, &hook) { // whose it is, the application knows; what it was, the log
			p.Message = "The hook " + hook.Hook + " failed."
		}
		a.answer(w, r, http.StatusInternalServerError, p)
		return
	}
	status := web.Status(f.Kind)
	if errors.Is(err, errNoMethod) {
		status = http.StatusMethodNotAllowed
	}
	web.SetRetryAfter(w, f.RetryAfter)
	a.answer(w, r, status, p)
}

// problemOf is what to say of an error that is the caller's to know, and the fault it is; nil: it is none.
func problemOf(err error) (*fault.Error, problem) {
	f, ok := fault.Of(err)
	if !ok || f.Kind == fault.Internal {
		return nil, problem{}
	}
	t := types[f.Kind]
	return f, problem{Code: t.code, Type: t.typ, Message: f.Message, Reason: f.Reason, Detail: f.Detail}
}

// refuse answers what web.Site does not let through.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, status int) {
	switch status {
	case http.StatusForbidden:
		a.fail(w, r, errOtherSite)
	case http.StatusNotFound:
		a.unknown(w, r, nil)
	default:
		if looksAtCallback(r) {
			f, p := nothingToTell()
			a.tellOnPage(w, r, f, p)
			return
		}
		a.answer(w, r, status, problem{Code: "unknown_error", Type: "unknown_error", Message: "An unknown error occurred."})
	}
}
