package console

import (
	"context"
	"net/http"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// What can be refused here, by the topic of the event that says that it was done.
var (
	toSignIn      = link.SignedIn{}.Topic()
	toRegister    = link.SignedUp{}.Topic()
	toAccept      = user.InviteAccepted{}.Topic()
	toReset       = "auth.credentials_changed"
	toChangeEmail = user.EmailChangeRequested{}.Topic()
	toConfirm     = user.EmailChanged{}.Topic()
	toAskForProof = auth.VerificationRequested{}.Topic()
	toVerify      = auth.EmailVerified{}.Topic()
)

// acting says in the request's context who acts, for the audit trail: whoever the cookie says is there, if something is to
// be done.
func (c *Console) acting(r *http.Request) *http.Request {
	from := c.site.Client(r)
	by := audit.Actor{Type: audit.Anonymous, IP: from.IP, UserAgent: from.UserAgent, RequestID: web.RequestID(r.Context())}
	if r.Method == http.MethodPost {
		if s, err := c.session(r); err == nil && s != nil {
			by.Type, by.IdentityID, by.SessionID = s.ActorType, s.IdentityID, s.ID
			if id, err := c.link.Actor(r.Context(), *s); err == nil {
				by.ID = string(id)
			}
		}
	}
	return r.WithContext(audit.WithActor(r.Context(), by))
}

// as is the context of what is done in a session that has just begun.
func as(ctx context.Context, s auth.Session) context.Context {
	by := audit.ActorOf(ctx)
	by.Type, by.ID, by.IdentityID, by.SessionID = s.ActorType, "", s.IdentityID, s.ID
	return audit.WithActor(ctx, by)
}

// refused has the audit trail keep that the visitor was refused, if that is what the error says. The address is the one
// that they typed; empty: none.
func (c *Console) refused(r *http.Request, action, address string, why error) {
	if why == nil {
		return
	}
	c.audit.Refused(r.Context(), audit.Refusal{Action: action, Provider: provider, Address: address, Accounts: c.auth}, why)
}

// signInRefused is refused for a sign-in. If it was one to a registration, by the link that was mailed for it, it was at that
// and at nothing of whose address was typed.
func (c *Console) signInRefused(r *http.Request, f form, registration auth.IdentityID, why error) {
	if registration == "" {
		c.refused(r, toSignIn, f.Email, why)
		return
	}
	c.audit.Refused(r.Context(), audit.Refusal{Action: toSignIn, Provider: provider, TargetID: string(registration)}, why)
}
