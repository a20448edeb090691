package console

import (
	"net/http"
	"slices"
	"strings"
)

// keeps are the fields that a form has kept for it when its sender is signed in no more, by the page that takes it: what people type
// and would have to type again. What is not named is not kept: passwords and codes, and what is typed to confirm something, which is
// asked for anew by the page itself.
var keeps = map[string][]string{
	accountPath:           {"first_name", "last_name"},
	"/email":              {"email"},
	"/users/{id}/edit":    {"first_name", "last_name", "avatar_url", "metadata", "version"},
	"/invites/new":        {"emails", "roles", "expires_in", "message", "opened"},
	"/webhooks/new":       {"id", "url", "description", "hears", "topic"},
	"/webhooks/{id}/edit": {"url", "description", "hears", "topic"},
}

// keptForm is a form that was not read, to be sent again.
type keptForm struct {
	Action string
	Fields []shownField
}

// keep answers a form whose sender is signed in no more with what it held, to be sent again; done is false if there is nothing to keep.
// Nobody is signed in, so the page tells nothing but what it was sent. For which account the form was, goes along (form.As): who signs in
// meanwhile may be somebody else, for whom it does nothing.
func (c *Console) keep(w http.ResponseWriter, r *http.Request) (done bool, err error) {
	names := keeps[strings.TrimPrefix(r.Pattern, c.options.Path)]
	if names == nil || !told(r) {
		return false, nil
	}
	f, err := readForm(w, r, maxFormInside)
	if err != nil {
		return false, err
	}
	kept := keptForm{Action: r.URL.EscapedPath()}
	for _, name := range append([]string{"as"}, names...) {
		for _, value := range f.Values(name) {
			kept.Fields = append(kept.Fields, shownField{name, value})
		}
	}
	if !slices.ContainsFunc(kept.Fields, func(field shownField) bool { return field.Name != "as" }) {
		return false, nil
	}
	return true, c.showAgain(w, r, "kept", view{Title: "problem.title", Data: kept}, errSignedOut)
}

// told reports whether the browser has said from where the request comes, which is from here, or web.Site had refused it. Of one that
// says nothing only the cookie, which does not come along from other sites (SameSite), tells that its user has sent the form. Here is none:
// what another site had them send would be a form of ours, from which it is sent with the cookie.
func told(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Site") != "" || r.Header.Get("Origin") != ""
}
