package console

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

const methodsPath = accountPath + "/methods"

var (
	errNoMethodOfSignIn = says(fault.NotFound, "method_not_found")
	errNoProvider       = says(fault.NotFound, "provider_not_found")
)

// method is a way to sign in that the visitor has, as the API shows it.
type method struct {
	ID          string
	Provider    string
	DisplayName string `json:"display_name"`
	EntityID    string `json:"entity_id"`
	Email       *string
	CreatedAt   time.Time `json:"created_at"`
}

// Called tells it from others of the same provider.
func (m method) Called() string {
	if m.Email != nil {
		return *m.Email
	}
	return m.EntityID
}

// Password reports whether it is the password, which the pages have words of their own for.
func (m method) Password() bool { return m.Provider == provider }

type methods []method

// by is one by the provider; nil: there is none.
func (all methods) by(provider string) *method {
	for i, m := range all {
		if m.Provider == provider {
			return &all[i]
		}
	}
	return nil
}

func (in *inside) methods() (methods, error) {
	var answer struct {
		Ways methods `json:"provider_identities"`
	}
	err := in.api(http.MethodGet, "/auth/provider-identities", nil, &answer)
	return answer.Ways, err
}

// methodsView is what the visitor signs in by, and what they can add.
type methodsView struct {
	Methods methods
	Add     []auth.ProviderInfo // of two steps
	Choose  bool                // they have no password, and can choose one
	Proved  bool                // their address is: nothing is added before
}

func (in *inside) methodsView() (v view, err error) {
	v = view{Title: "methods.title"}
	var data methodsView
	if data.Methods, err = in.methods(); err != nil {
		return v, err
	}
	a, err := in.account()
	if err != nil {
		return v, err
	}
	data.Proved = a.Verified != nil
	offered, err := in.c.link.Providers(in.visitor.session.ActorType)
	for _, p := range offered {
		switch {
		case p.ID == provider:
			data.Choose = data.Methods.by(provider) == nil
		case p.Flow != auth.FlowRedirect:
		case p.ID == magicProvider && data.Methods.by(p.ID) != nil: // it is by the account's address, and no other
		default:
			data.Add = append(data.Add, p)
		}
	}
	v.Data = data
	return v, err
}

// openMethods shows them, to who has just come back from a provider as well: the API says with which of them, or why with none. Anybody
// can have written that link, so what it says is looked up.
func openMethods(in *inside) error {
	v, err := in.methodsView()
	if err != nil {
		return err
	}
	q := in.r.URL.Query()
	if id := q.Get("linked"); id != "" {
		data, _ := v.Data.(methodsView)
		for _, m := range data.Methods {
			if m.ID == id {
				return in.done(methodsPath, "method_added", m.DisplayName)
			}
		}
		return in.c.redirect(in.w, methodsPath)
	}
	if reason := q.Get("problem"); reason != "" {
		return in.wrong("methods", v, linkProblem(reason), nil)
	}
	return in.show("methods", v)
}

// linkProblem is what to say of a way that was not added, by the reason of its error.
func linkProblem(reason string) error {
	for _, f := range []*fault.Error{link.ErrLinked, link.ErrForeignEmail, link.ErrPrimaryEmail, link.ErrNoAccount, auth.ErrSignInAgain, auth.ErrSession} {
		if f.Reason == reason {
			return f
		}
	}
	return providerProblem(reason)
}

func (in *inside) addView() (v view, p auth.ProviderInfo, err error) {
	offered, err := in.c.link.Providers(in.visitor.session.ActorType)
	if err != nil {
		return v, p, err
	}
	at := slices.IndexFunc(offered, func(o auth.ProviderInfo) bool {
		return o.ID == in.r.PathValue("provider") && o.Flow == auth.FlowRedirect
	})
	if at < 0 {
		return v, p, errNoProvider
	}
	p = offered[at]
	v = view{Title: "methods.add_one", About: p.DisplayName, Back: &crumb{methodsPath, "methods.title"}, Data: p}
	v.Again, err = in.again()
	return v, p, err
}

func askAddMethod(in *inside) error {
	v, _, err := in.addView()
	if err != nil {
		return err
	}
	return in.show("method_add", v)
}

// addMethod sends the visitor to the provider, from where they come back here.
func addMethod(in *inside) error {
	v, p, err := in.addView()
	if err != nil {
		return err
	}
	f, err := in.own()
	if err == nil {
		err = v.Again.missing(f)
	}
	var begun struct{ Location string }
	if err == nil {
		body := map[string]string{"next": in.c.path(methodsPath)}
		if current := v.Again.currentPassword(f); current != nil {
			body["current_password"] = *current
		}
		if p.ID == magicProvider {
			body["email"] = in.visitor.Email
		}
		err = in.api(http.MethodPost, apiPath("/auth/user/", p.ID)+"/link", body, &begun)
	}
	switch {
	case err != nil:
		return in.wrong("method_add", v, err, aboutProof)
	case begun.Location == "":
		return in.done(methodsPath, "method_added", p.DisplayName)
	case strings.HasPrefix(begun.Location, in.c.site.URL("/")):
		return away(in.w, begun.Location)
	}
	// Browsers hold where a form leads in the end against the policy of its page, so it leads to a page, and that one on.
	in.w.Header().Set("Refresh", "0; url="+begun.Location)
	return in.show("method_leave", view{Title: "methods.leave_title", About: p.DisplayName, Back: v.Back, Data: begun.Location})
}

func (in *inside) removeView() (v view, m method, err error) {
	all, err := in.methods()
	if err != nil {
		return v, m, err
	}
	at := slices.IndexFunc(all, func(m method) bool { return m.ID == in.r.PathValue("id") })
	if at < 0 {
		return v, m, errNoMethodOfSignIn
	}
	m = all[at]
	v = view{Title: "methods.remove_title", About: m.DisplayName, Back: &crumb{methodsPath, "methods.title"}, Data: m}
	if m.Password() {
		v.Title = "methods.remove_password_title"
	}
	v.Again, err = in.again()
	return v, m, err
}

func askRemoveMethod(in *inside) error {
	v, _, err := in.removeView()
	if err != nil {
		return err
	}
	return in.show("method_remove", v)
}

func removeMethod(in *inside) error {
	v, m, err := in.removeView()
	if err != nil {
		return err
	}
	f, err := in.own()
	if err == nil {
		err = v.Again.missing(f)
	}
	if err == nil {
		body := map[string]*string{}
		if current := v.Again.currentPassword(f); current != nil {
			body["current_password"] = current
		}
		err = in.api(http.MethodDelete, apiPath("/auth/provider-identities/", m.ID), body, nil)
	}
	if err != nil {
		return in.wrong("method_remove", v, err, aboutProof)
	}
	if m.Password() {
		return in.done(methodsPath, "password_removed", "")
	}
	return in.done(methodsPath, "method_removed", m.DisplayName)
}
