package console

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// This file has the profile, and what all pages about the visitor's own account share. The others are each in a file of its own:
//
//	account_password.go  the password, chosen or changed
//	account_sessions.go  where they are signed in
//	account_methods.go   what they sign in by
//	account_delete.go    the end of it
//	email.go             another address

const accountPath = "/account"

// accountRoutes are the pages about the visitor's own account.
func (c *Console) accountRoutes() []route {
	return []route{
		{accountPath, c.within(openProfile), c.within(saveProfile)},
		{accountPath + "/verify", nil, c.within(sendOwnProof)},
		{passwordPath, c.within(openPassword), c.within(savePassword)},
		{sessionsPath, c.within(openSessions), nil},
		{sessionsPath + "/others", c.within(askEndOthers), c.within(endOthers)},
		{sessionsPath + "/{id}", c.within(askEndSession), c.within(endSession)},
		{methodsPath, c.within(openMethods), nil},
		{methodsPath + "/add/{provider}", c.within(askAddMethod), c.within(addMethod)},
		{methodsPath + "/{id}", c.within(askRemoveMethod), c.within(removeMethod)},
		{deletePath, c.within(askDeleteAccount), c.within(deleteAccount)},
	}
}

// toProfile leads from the pages below the profile back to it.
var toProfile = &crumb{accountPath, "account.title"}

// errOtherAccount is for a form that somebody else had opened in this browser.
var errOtherAccount = says(fault.Conflict, "account_of_other")

// own reads a form of the visitor's own, which names the account that it was opened by: who else has signed in since, in another tab or
// to send a form that was kept, did not mean to do this.
func (in *inside) own() (form, error) {
	f, err := in.form()
	if err == nil && f.As != in.visitor.Account() {
		err = errOtherAccount
	}
	return f, err
}

// again is how the visitor proves once more that it is them: by a password, or else by signing in once more, by a link.
type again struct {
	Secret    bool                // a password is asked for
	Providers []auth.ProviderInfo // by which they sign in, of two steps
	Here      string              // the page to come back to
}

// again is what the API will ask of the visitor for what an open session must not be enough for.
func (in *inside) again() (*again, error) {
	a := &again{Here: in.r.URL.Path}
	var err error
	if a.Secret, err = in.c.auth.AsksForSecret(in.r.Context(), in.visitor.session.IdentityID); err != nil || a.Secret {
		return a, err
	}
	mine, err := in.methods()
	if err != nil {
		return nil, err
	}
	offered, err := in.c.link.Providers(in.visitor.session.ActorType)
	for _, p := range offered {
		if p.Flow == auth.FlowRedirect && mine.by(p.ID) != nil {
			a.Providers = append(a.Providers, p)
		}
	}
	return a, err
}

// currentPassword is what a body of the API has of the password of now; nil where none is asked for.
func (a *again) currentPassword(f form) *string {
	if !a.Secret {
		return nil
	}
	password := f.values.Get("current_password")
	return &password
}

// errNoCurrent is for who proves nothing.
var errNoCurrent = says(fault.Invalid, "current_password_missing")

// missing says what is missing of the proof.
func (a *again) missing(f form) error {
	if a.Secret && f.values.Get("current_password") == "" {
		return errNoCurrent
	}
	return nil
}

// wrong shows the page with what was wrong, about the fields that the reason of the error stands for here.
func (in *inside) wrong(page string, v view, err error, about map[string]string) error {
	if errors.Is(err, errSignedOut) {
		return err
	}
	if v.Problem = problemOf(err); v.Problem == nil {
		return err
	}
	if field := about[reasonOf(err)]; field != "" {
		v.Problem.Fields = []string{field}
	}
	return in.show(page, v)
}

// reasonOf is the reason of a fault; empty: it is none.
func reasonOf(err error) string {
	if f, ok := fault.Of(err); ok {
		return f.Reason
	}
	return ""
}

// aboutProof are the reasons that are about the password of now.
var aboutProof = map[string]string{errNoCurrent.Reason: "current_password", auth.ErrInvalidCredentials.Reason: "current_password"}

// account is the visitor's, as the API shows it.
type account struct {
	FirstName *string `json:"first_name"`
	LastName  *string `json:"last_name"`
	Email     *string
	Roles     []string
	Verified  *time.Time `json:"email_verified_at"`
	CreatedAt time.Time  `json:"created_at"`
}

func (in *inside) account() (a account, err error) {
	var answer struct{ User *account }
	answer.User = &a
	err = in.api(http.MethodGet, "/admin/users/me?fields=first_name,last_name,email,created_at,roles,email_verified_at", nil, &answer)
	return a, err
}

// text is empty for what is not there.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func openProfile(in *inside) error {
	a, err := in.account()
	if err != nil {
		return err
	}
	return in.show("account", profile(a))
}

func profile(a account) view {
	return view{Title: "account.title", Data: a, Form: filled("first_name", text(a.FirstName), "last_name", text(a.LastName))}
}

// saveProfile keeps the names. A field that is left empty is no name.
func saveProfile(in *inside) error {
	a, err := in.account()
	if err != nil {
		return err
	}
	f, err := in.own()
	if err == nil {
		err = in.api(http.MethodPost, "/admin/users/me/profile", map[string]*string{"first_name": named(f, "first_name"), "last_name": named(f, "last_name")}, nil)
	}
	if err != nil {
		v := profile(a)
		v.Form = f
		return in.wrong("account", v, err, nil)
	}
	return in.done(accountPath, "account_saved", "")
}

// named is what was typed into a field; nil: nothing.
func named(f form, name string) *string {
	typed := strings.TrimSpace(f.Value(name))
	if typed == "" {
		return nil
	}
	return &typed
}

// sendOwnProof has a link mailed that proves the account's address.
func sendOwnProof(in *inside) error {
	a, err := in.account()
	if err != nil {
		return err
	}
	if _, err = in.own(); err == nil {
		err = in.api(http.MethodPost, "/auth/verification/request", map[string]string{"entity_id": text(a.Email), "entity_type": "email"}, nil)
	}
	if err != nil {
		return in.wrong("account", profile(a), err, nil)
	}
	return in.done(accountPath, "account_proof_sent", text(a.Email))
}

// apiPath is a path of the API with an id that a browser has sent.
func apiPath(before, id string) string { return before + url.PathEscape(id) }
