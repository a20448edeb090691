package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/email"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// problem is what a page says is wrong: the text reason.REASON.DETAIL, reason.REASON or, of a reason that is none of ours, the message.
type problem struct {
	Status       int
	Reason       string
	Detail       string // what exactly it is about, as the API says it; empty: nothing more
	Message      string // in English, whatever language the texts are in
	RetryAfter   time.Duration
	Fields       []string // which it is about, the one to mend first in front
	Called       string   // who is signed in; empty: nobody, or somebody without a name
	Line, Column int      // where in what was typed, from 1; 0: it is not known
}

// Minutes is for how long to wait, as people say it: at least one.
func (p *problem) Minutes() int { return max(1, int((p.RetryAfter+time.Minute-1)/time.Minute)) }

// IsAbout reports whether the field is to be mended.
func (p *problem) IsAbout(field string) bool { return slices.Contains(p.Fields, field) }

// says is a fault of the pages themselves, which they say by the text reason.REASON.
func says(kind fault.Kind, reason string) *fault.Error { return fault.New(kind, reason, reason) }

// What is said by the pages themselves.
var (
	errNoPage    = says(fault.NotFound, "no_page")
	errNoMethod  = says(fault.NotAllowed, "no_method")
	errOtherSite = says(fault.Forbidden, "cross_origin")
	errForm      = says(fault.Invalid, "form_malformed")
	errTooLarge  = says(fault.TooLarge, "form_too_large")
	errMediaType = says(fault.Unsupported, "form_media_type")

	errNoEmail    = says(fault.Invalid, "email_missing")
	errNoPassword = says(fault.Invalid, "no_password_typed")
	errCurrent    = says(fault.Unauthorized, "password_wrong")
	errOther      = says(fault.Conflict, "accepts_other")

	errRegistered = says(fault.Duplicate, "registered_already")

	errNoCode         = says(fault.Invalid, "code_missing")
	errMagicLink      = says(fault.Unauthorized, "magic_link_dead")
	errMagicElsewhere = says(fault.Forbidden, "magic_link_elsewhere")
	errMagicOver      = says(fault.Unauthorized, "magic_over")

	errVerifyLink  = says(fault.Invalid, "verify_link_dead")
	errOtherProves = says(fault.Conflict, "proves_other")

	errOtherConfirms = says(fault.Conflict, "confirms_other")
)

// What is said of a sign-in by a provider that did not work.
var (
	errFlow          = says(fault.Unauthorized, "flow_dead")
	errProvider      = says(fault.Invalid, "provider_failed")
	errProviderBusy  = says(fault.TooMany, "provider_busy")
	errProviderFails = says(fault.Unavailable, "provider_fails")
	errProviderNot   = says(fault.Invalid, "provider_not_here")
)

// providerProblem is what to say of a sign-in by a provider, by the reason of its error.
func providerProblem(reason string) error {
	switch reason {
	case auth.ErrInvalidCredentials.Reason: // and so ErrFlow's
		return errFlow
	case auth.ErrDeclined.Reason:
		return auth.ErrDeclined
	case auth.ErrThrottled.Reason:
		return errProviderBusy
	case auth.ErrProviderUnavailable.Reason:
		return auth.ErrProviderUnavailable
	case link.ErrDeactivated.Reason:
		return link.ErrDeactivated
	case link.ErrProvider.Reason, auth.ErrUnsupported.Reason, auth.ErrUnknownProvider.Reason:
		return errProviderNot
	case "internal":
		return errProviderFails
	default:
		return errProvider
	}
}

// isDead reports whether the error says that an invite link leads nowhere, for whomever.
func isDead(err error) bool {
	return slices.ContainsFunc([]error{user.ErrInviteToken, user.ErrInviteExpired, user.ErrInviteUsed, user.ErrInviteRenewed,
		user.ErrInviteRevoked, user.ErrSetupDone}, func(dead error) bool { return errors.Is(err, dead) })
}

// problemOf is how a page tells an error; nil for what is ours to mend, which no page tells.
func problemOf(err error) *problem {
	f, ok := fault.Of(err)
	if !ok || f.Kind == fault.Internal {
		return nil
	}
	p := &problem{Status: web.Status(f.Kind), Reason: f.Reason, Detail: f.Detail, Message: f.Message, RetryAfter: f.RetryAfter}
	is := func(target *fault.Error) bool { return errors.Is(err, target) || f.Reason == target.Reason } // of the API's only the reason is left
	switch {
	case is(errNoMethod):
		p.Status = http.StatusMethodNotAllowed
	case is(errNoCode):
		p.Fields = []string{"code"}
	case f.Reason == user.ErrInvalid.Reason:
		p.Fields = []string{f.Detail}
	case is(errMetadata), is(errNoObject), is(errTwice):
		p.Fields = []string{"metadata"}
		if at := new(syntaxError); errors.As(err, at) {
			p.Line, p.Column = at.line, at.column
		}
	case is(errConfirm):
		p.Fields = []string{"confirm"}
	case is(errNoRoleNamed):
		p.Fields = []string{"role"}
	case is(auth.ErrInvalidCredentials):
		p.Fields = []string{"password", "email"} // which of them is wrong, nobody learns
	case is(auth.ErrPassword), is(errNoPassword), is(errCurrent):
		p.Fields = []string{"password"}
	case is(email.ErrInvalid), f.Reason == email.ErrInvalid.Reason, is(errNoEmail), is(errRegistered), is(user.ErrSameEmail):
		p.Fields = []string{"email"}
	}
	return p
}

// internalProblem is all that is told of what is ours to mend.
var internalProblem = problem{Status: http.StatusInternalServerError, Reason: "internal"}

// showAgain shows the page with what was wrong just now; nil: nothing was.
func (c *Console) showAgain(w http.ResponseWriter, r *http.Request, page string, v view, wrong error) error {
	if wrong != nil {
		if v.Problem = problemOf(wrong); v.Problem == nil {
			return wrong
		}
	}
	return c.show(w, r, page, v)
}

// fail answers an error with a page of its own. What is not the caller's doing is logged, and its text stays here.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p == nil {
		if !errors.Is(err, context.Canceled) { // the caller has gone
			c.log.Error("request failed", "request_id", web.RequestID(r.Context()), "method", r.Method, "path", r.URL.Path, "error", err)
		}
		p = &internalProblem
	}
	c.showProblem(w, r, p)
}

// refuse answers what web.Site does not let through.
func (c *Console) refuse(w http.ResponseWriter, r *http.Request, status int) {
	switch status {
	case http.StatusForbidden:
		c.fail(w, r, errOtherSite)
	case http.StatusNotFound:
		c.fail(w, r, errNoPage)
	default:
		c.showProblem(w, r, &internalProblem) // a panic, which is logged already
	}
}

func (c *Console) showProblem(w http.ResponseWriter, r *http.Request, p *problem) {
	v := view{Title: "problem.title", Problem: p}
	if p.Status == http.StatusNotFound {
		v.Title = "problem.no_page_title"
	}
	if p.Status != http.StatusForbidden && p.Status < http.StatusInternalServerError { // who came by themselves, while we can look them up
		v.Visitor, _ = c.visitor(r)
	}
	if err := c.show(w, r, "problem", v); err != nil {
		c.log.Error("show problem", "request_id", web.RequestID(r.Context()), "error", err)
		http.Error(w, http.StatusText(p.Status), p.Status)
	}
}
