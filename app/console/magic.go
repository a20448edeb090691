package console

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
)

// magicProvider signs in by what is mailed. Its page is to it what an issuer's is to OpenID Connect: people come to it with a flow
// under way, say who they are, and are sent back to the flow's callback with what proves it. The page itself lets nobody in.
//
//	GET  /app/magic?state=…   asks for the address; then waits for the mail, or asks for the code
//	GET  /app/magic?token=…   where the link in the mail leads: a button, for the browser in which it was asked for
//	POST /app/magic           the address, the code, or the button
const (
	magicProvider = "magiclink"
	magicPath     = "/magic"
	magicTitle    = "magic.title"
)

// openMagic changes nothing at a sign-in: whoever opens a link, such as a program that looks through mails, has not said yes.
func (c *Console) openMagic(w http.ResponseWriter, r *http.Request) error {
	if !c.hasMagic() {
		return errNoPage
	}
	q := r.URL.Query()
	switch {
	case q.Get("token") != "":
		return c.offerMagic(w, r, form{Token: q.Get("token")})
	case q.Get("state") == "":
		return c.showMagic(w, r, auth.MailedFlow{}, form{}, nil)
	}
	f, _, err := c.magicFlow(w, r, q.Get("state"))
	if errors.Is(err, auth.ErrFlow) {
		return c.showMagic(w, r, auth.MailedFlow{}, form{}, errMagicOver)
	}
	if err != nil {
		return err
	}
	return c.showMagic(w, r, f, form{}, nil)
}

func (c *Console) hasMagic() bool {
	return slices.ContainsFunc(c.auth.ListAuthProviders(), func(p auth.ProviderInfo) bool { return p.ID == magicProvider })
}

// magicFlow returns the flow that the browser is in, and the secret that this keeps of it. One that was begun where no cookie could be
// kept, by a page of the application's own, is bound to this browser now: the link will be opened in it.
func (c *Console) magicFlow(w http.ResponseWriter, r *http.Request, state string) (f auth.MailedFlow, secret string, err error) {
	secret, _ = c.site.Flow(r)
	f, err = c.auth.MailedFlow(r.Context(), magicProvider, state, secret)
	switch {
	case secret != "" && !errors.Is(err, auth.ErrFlow):
		return f, secret, err
	case r.Method == http.MethodHead: // who looks whether the page is there takes the flow from nobody
		f, err = c.auth.MailedFlow(r.Context(), magicProvider, state, "")
		return f, "", err
	}
	secret = c.site.FlowSecret(r)
	until, err := c.auth.KeepMailedFlow(r.Context(), magicProvider, state, secret)
	if err != nil {
		return auth.MailedFlow{}, "", err
	}
	c.site.SetFlow(w, secret, until)
	f, err = c.auth.MailedFlow(r.Context(), magicProvider, state, secret)
	return f, secret, err
}

// offerMagic shows to whom a link belongs who would be signed in by it, and to everybody else what to do.
func (c *Console) offerMagic(w http.ResponseWriter, r *http.Request, f form) error {
	secret, _ := c.site.Flow(r)
	flow, err := c.auth.MailedFlowOf(r.Context(), magicProvider, f.Token, secret)
	switch {
	case errors.Is(err, auth.ErrSignInMail):
		return c.showMagic(w, r, auth.MailedFlow{}, form{}, errMagicLink)
	case errors.Is(err, auth.ErrFlow):
		return c.showMagic(w, r, auth.MailedFlow{}, form{Email: flow.Email}, errMagicElsewhere)
	case err != nil:
		return err
	}
	return c.showMagic(w, r, flow, f, nil)
}

// magic takes the forms.
func (c *Console) magic(w http.ResponseWriter, r *http.Request) error {
	if !c.hasMagic() {
		return errNoPage
	}
	f, err := readForm(w, r, maxForm)
	if err != nil {
		return err
	}
	switch {
	case f.Token != "":
		secret, _ := c.site.Flow(r)
		flow, err := c.auth.MailedFlowOf(r.Context(), magicProvider, f.Token, secret)
		if err != nil {
			c.magicRefused(r, flow.Email, err)
			return c.offerMagic(w, r, f)
		}
		return sendBack(w, flow, f.Token)
	case f.Email != "" || f.State == "":
		return c.sendMagic(w, r, f)
	}
	flow, secret, err := c.magicFlow(w, r, f.State)
	if err == nil {
		err = c.tryCode(r, flow, secret, f.Code)
	}
	switch {
	case errors.Is(err, auth.ErrFlow):
		return c.showMagic(w, r, auth.MailedFlow{}, form{Email: flow.Email}, errMagicOver)
	case err != nil:
		return c.showMagic(w, r, flow, form{}, err)
	}
	return sendBack(w, flow, f.Code)
}

// tryCode tells who mistypes a code here, where they can mend it.
func (c *Console) tryCode(r *http.Request, flow auth.MailedFlow, secret, code string) error {
	if code == "" {
		return errNoCode
	}
	err := c.auth.TryMailed(auth.WithClient(r.Context(), c.site.Client(r)), magicProvider, flow.ID, secret, code)
	c.magicRefused(r, flow.Email, err)
	return err
}

// sendMagic has a mail sent, for the flow that there is or a new one, and has the browser wait for it. It says the same whoever has
// the address.
func (c *Console) sendMagic(w http.ResponseWriter, r *http.Request, f form) error {
	if f.Email == "" {
		return c.showMagic(w, r, auth.MailedFlow{}, f, errNoEmail)
	}
	in, err := f.credentials()
	if err != nil {
		return err
	}
	flow, secret := auth.MailedFlow{}, ""
	if f.State != "" {
		flow, secret, err = c.magicFlow(w, r, f.State)
	}
	from := c.site.Client(r)
	switch {
	case err != nil && !errors.Is(err, auth.ErrFlow):
		return err
	case flow.ID != "":
		until, failed := c.auth.MailAgain(auth.WithClient(r.Context(), from), magicProvider, flow.ID, secret, in)
		if errors.Is(failed, auth.ErrFlow) {
			return c.showMagic(w, r, auth.MailedFlow{}, f, errMagicOver)
		}
		if err = failed; err == nil {
			c.site.SetFlow(w, secret, until)
		}
	default:
		secret = c.site.FlowSecret(r)
		var begun auth.Flow
		begun, err = c.link.Begin(r.Context(), magicProvider, in, auth.Binding{
			ActorType: link.ActorUser, Browser: secret, CallbackURL: c.site.URL("/auth/user/magiclink/callback"), ReturnTo: c.path(""),
		}, from)
		if flow.ID = begun.ID; err == nil {
			c.site.SetFlow(w, secret, begun.ExpiresAt)
		}
	}
	if err != nil {
		c.magicRefused(r, f.Email, err)
		flow.Mailed = auth.Mailed{} // asked for the address again
		return c.showMagic(w, r, flow, f, err)
	}
	return c.redirect(w, magicPath+"?state="+url.QueryEscape(flow.ID))
}

func (c *Console) magicRefused(r *http.Request, address string, why error) {
	if why != nil {
		c.audit.Refused(r.Context(), audit.Refusal{Action: toSignIn, Provider: magicProvider, Address: address, Accounts: c.auth}, why)
	}
}

// sendBack has the browser finish the flow.
func sendBack(w http.ResponseWriter, f auth.MailedFlow, answer string) error {
	to, err := url.Parse(f.CallbackURL)
	if err != nil {
		return err
	}
	q := to.Query()
	q.Set("state", f.ID)
	q.Set("code", answer)
	to.RawQuery = q.Encode()
	return away(w, to.String())
}

// showMagic shows where a sign-in is, and why what was sent just now did not do.
func (c *Console) showMagic(w http.ResponseWriter, r *http.Request, flow auth.MailedFlow, f form, wrong error) error {
	v := view{Title: magicTitle, Form: f, Mailed: flow}
	if to, err := url.Parse(flow.CallbackURL); err == nil && to.Host != "" {
		v.FormTo = to.Scheme + "://" + to.Host
	}
	if errors.Is(wrong, auth.ErrInvalidCredentials) {
		v.Problem = problemOf(wrong)
		v.Problem.Fields = []string{"code"}
		wrong = nil
	}
	return c.showAgain(w, r, "magic", v, wrong)
}
