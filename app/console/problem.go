package console

import (
	"context"
	"errors"
	"fmt"
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

// problem is what a page says is wrong.
type problem struct {
	Status     int
	Message    string
	RetryAfter time.Duration
	Fields     []string // which it is about, the one to mend first in front
}

func (p *problem) isAbout(field string) bool { return slices.Contains(p.Fields, field) }

// What is said by the pages themselves.
var (
	errNoPage    = fault.New(fault.NotFound, "no_page", "There is no page at this address.")
	errNoMethod  = fault.New(fault.NotAllowed, "no_method", "This address cannot be used in this way.")
	errOtherSite = fault.New(fault.Forbidden, "cross_origin", "This form was sent from another site, so it was not read.")
	errForm      = fault.New(fault.Invalid, "form_malformed", "The form could not be read: it is not well-formed text. Open the page again and send it once more.")
	errTooLarge  = fault.New(fault.TooLarge, "form_too_large", "The form is too large.")
	errMediaType = fault.New(fault.Unsupported, "form_media_type", "This address takes forms (application/x-www-form-urlencoded) only.")

	errNoEmail    = fault.New(fault.Invalid, "email_missing", "Enter your e-mail address.")
	errNoPassword = fault.New(fault.Invalid, "password_missing", "Enter a password.")
	errCurrent    = fault.New(fault.Unauthorized, "password_wrong", "The password is not right.")
	errOther      = fault.New(fault.Conflict, "visitor_changed", "Who is signed in here has changed meanwhile. Look again who would accept the invite.")

	errNoCode         = fault.New(fault.Invalid, "code_missing", "Type the code that was mailed to you.")
	errMagicLink      = fault.New(fault.Unauthorized, "magic_link_dead", "This link was used already, or has expired. Ask for a new one below.")
	errMagicElsewhere = fault.New(fault.Forbidden, "magic_link_elsewhere", "This link is for the browser in which it was asked for, and for the latest mail. Open it there, or ask for a new one here.")
	errMagicOver      = fault.New(fault.Unauthorized, "magic_over", "This sign-in was started in another browser, took too long, was finished already, or the code was wrong too often. Start again.")

	errVerifyLink  = fault.New(fault.Invalid, "verify_link_dead", "This link was used already, has expired, or a newer one was sent. If your address is not confirmed yet, sign in and have another one sent.")
	errOtherProves = fault.New(fault.Conflict, "visitor_changed", "Who is signed in here has changed meanwhile. Look again whose address would be confirmed.")

	errOtherConfirms = fault.New(fault.Conflict, "visitor_changed", "Who is signed in here has changed meanwhile. Look again whose address would change.")
)

// What is said of a sign-in by a provider that did not work.
var (
	errFlow          = fault.New(fault.Unauthorized, "flow_dead", "That sign-in was not accepted, has expired, was finished already or was started in another browser. Start again.")
	errProvider      = fault.New(fault.Invalid, "provider_failed", "That sign-in did not work. Try again, or sign in by another way.")
	errProviderBusy  = fault.New(fault.TooMany, "provider_busy", "There were too many attempts. Wait a while, then try again.")
	errProviderFails = fault.New(fault.Unavailable, "provider_fails", "Something went wrong on our side. Try again in a moment, or sign in by another way.")
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
	case link.ErrDeactivated.Reason:
		return link.ErrDeactivated
	case link.ErrProvider.Reason, auth.ErrUnsupported.Reason, auth.ErrUnknownProvider.Reason:
		return link.ErrProvider.Msg("You cannot sign in by that provider here. Choose another way.")
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
	p := &problem{Status: web.Status(f.Kind), Message: f.Message, RetryAfter: f.RetryAfter}
	is := func(target *fault.Error) bool { return errors.Is(err, target) || f.Reason == target.Reason } // of the API's only the reason is left
	switch {
	case is(errNoMethod):
		p.Status = http.StatusMethodNotAllowed
	case is(errNoCode):
		p.Fields = []string{"code"}
	case is(auth.ErrInvalidCredentials):
		p.Fields = []string{"password", "email"} // which of them is wrong, nobody learns
	case is(auth.ErrThrottled):
		p.Message = fmt.Sprintf("There were too many attempts. Try again in %s.", minutes(p.RetryAfter))
	case is(auth.ErrPassword), is(errNoPassword), is(errCurrent):
		p.Fields = []string{"password"}
	case is(email.ErrInvalid), is(errNoEmail), is(user.ErrSameEmail):
		p.Fields = []string{"email"}
	}
	return p
}

// minutes is how people say how long they have to wait.
func minutes(wait time.Duration) string {
	if n := int((wait + time.Minute - 1) / time.Minute); n > 1 {
		return fmt.Sprintf("%d minutes", n)
	}
	return "a minute"
}

// internalProblem is all that is told of what is ours to mend.
var internalProblem = problem{Status: http.StatusInternalServerError, Message: "Something went wrong on our side. Try again in a moment."}

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
	if err := c.show(w, r, "problem", view{Title: "title.that_did_not_work", Problem: p}); err != nil {
		c.log.Error("show problem", "request_id", web.RequestID(r.Context()), "error", err)
		http.Error(w, p.Message, p.Status)
	}
}
