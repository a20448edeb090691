package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// flowTTL is how long a caller has between Begin and Finish.
const flowTTL = 20 * time.Minute

// Flow is the first half of a sign-in with a provider of two steps.
type Flow struct {
	ID          string // 130 random bits; the caller brings it back as "state". Bind it to the browser it was begun in
	RedirectURL string // where to send the caller
	ExpiresAt   time.Time
}

// Binding is what a flow is bound to when it begins.
type Binding struct {
	ActorType   string // as which type of actor it is to be finished
	CallbackURL string // for the provider: where the caller comes back to
	ReturnTo    string // for whoever finishes it: where the caller wants to go then

	// Browser is a secret that the browser keeps, of which only a hash is kept here; empty: it is begun in none. Portable has
	// whoever brings no such secret finish it, too; whoever brings another never does.
	Browser  string
	Portable bool

	// Redirect says that whoever begins it can do nothing but go where they are sent: a challenge that sends nobody away is refused.
	Redirect bool

	// Unasked says that the flow was begun by a request that browsers make without being told to by who sits there, such as for a
	// picture on somebody else's page. Nothing is mailed for it.
	Unasked bool

	// Session is that to whose identity a way to sign in is to be added, and Again its proof of ProveAgain; the zero values:
	// somebody signs in.
	Session Session
	Again   Proof
}

// Return is who comes back to finish a flow.
type Return struct {
	ActorType string
	Browser   string    // what their browser keeps; empty: nothing
	Sessions  []Session // that they are signed in by, all of them checked
}

// Finished is what has come of a flow.
type Finished struct {
	Proof    Proof
	ReturnTo string

	Session Session // to whose identity the proof is to be added; the zero Session: it signs in
	Again   Proof   // of ProveAgain, in that session
}

// Begin starts a sign-in with a provider of two steps that is bound to nothing: for a program that has no browsers, or binds
// flows itself. ErrThrottled: too many were begun from the client's address.
func (s *Service) Begin(ctx context.Context, provider string, in Input) (Flow, error) {
	return s.BeginBound(ctx, provider, in, Binding{Portable: true})
}

// BeginBound is Begin for who is to be told from others when they come back.
func (s *Service) BeginBound(ctx context.Context, provider string, in Input, b Binding) (Flow, error) {
	c, err := s.challenger(provider, "Redirect authentication")
	if err != nil {
		return Flow{}, err
	}
	if b.Session.ID != "" && b.Again.again != b.Session.ID {
		return Flow{}, ErrInvalidCredentials
	}
	if err := s.takeByPlace(ctx, limitBegin); err != nil {
		return Flow{}, err
	}
	f := Flow{ID: rand.Text(), ExpiresAt: database.Now().Add(flowTTL)}
	challenge, err := c.Begin(ctx, Attempt{Input: in, FlowID: f.ID, Unasked: b.Unasked, CallbackURL: b.CallbackURL})
	if err != nil {
		s.noteUnavailable(ctx, provider, err)
		return Flow{}, err
	}
	if b.Unasked && challenge.Mail != nil {
		return Flow{}, ErrUnsupported.Msg("Provider %s mails something, which is asked for by POST", provider)
	}
	if b.Redirect && challenge.RedirectURL == "" {
		return Flow{}, ErrUnsupported.Msg("Redirect authentication not implemented for provider %s", provider)
	}
	f.RedirectURL = challenge.RedirectURL
	row := &flowRow{
		IDHash: hashed(f.ID), Provider: provider, ExpiresAt: f.ExpiresAt,
		ActorType: b.ActorType, Portable: b.Portable, CallbackURL: b.CallbackURL, ReturnTo: b.ReturnTo,
		SessionID: b.Session.ID, SessionVer: b.Session.ver,
	}
	if b.Browser != "" {
		row.BrowserHash = hashed(b.Browser)
	}
	s.keepState(row, challenge.State)
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.store.insertFlow(ctx, row); err != nil || challenge.Mail == nil {
			return err
		}
		return s.mail(ctx, provider, b.ActorType, b.Session.ID, challenge.Mail)
	})
	return f, err
}

// Finish proves the caller who comes back. The input's "state" names the flow, which is used up whatever comes of it; that of a
// Retrier by the right answer, or by the last of its tries. What fails counts as at a sign-in of one step.
// ErrFlow: it is not one of this provider's, has expired, was finished already, or is bound to something.
func (s *Service) Finish(ctx context.Context, provider string, in Input) (Proof, error) {
	f, err := s.finish(ctx, provider, in, Return{}, false)
	return f.Proof, err
}

// FinishBound is Finish for a flow of BeginBound. ErrFlow is also for whoever it is not bound to, and leaves the flow to who
// it is. ErrDeclined: the caller brings an "error" in place of a proof; the provider is not asked. If the flow was theirs, where
// they wanted to go is returned along with an error, too.
func (s *Service) FinishBound(ctx context.Context, provider string, in Input, r Return) (Finished, error) {
	return s.finish(ctx, provider, in, r, true)
}

func (s *Service) finish(ctx context.Context, provider string, in Input, r Return, declines bool) (Finished, error) {
	c, err := s.challenger(provider, "Callback authentication")
	if err != nil {
		return Finished{}, err
	}
	var named struct {
		State string  `json:"state"`
		Error *string `json:"error"`
	}
	if declines {
		err = in.Decode(&named)
	} else {
		var only struct {
			State string `json:"state"`
		}
		err = in.Decode(&only)
		named.State = only.State
	}
	if err != nil {
		return Finished{}, err
	}
	tries := 1
	if r, ok := c.(Retrier); ok {
		tries = r.Tries()
	}
	hash := hashed(named.State)
	// What leads nowhere costs a read, so that nobody keeps others from writing by it.
	if there, err := s.store.hasFlow(ctx, hash, provider, r); err != nil {
		return Finished{}, err
	} else if !there {
		return Finished{}, ErrFlow
	}
	var flow *flowRow
	err = s.db.InTx(ctx, func(ctx context.Context) (err error) {
		flow, err = s.store.takeFlow(ctx, hash, provider, tries, r)
		return err
	})
	if err != nil {
		return Finished{}, err
	}
	if flow == nil || !flow.ExpiresAt.After(time.Now()) {
		return Finished{}, ErrFlow
	}
	state, ok := s.stateOf(flow)
	if !ok {
		return Finished{}, ErrFlow
	}
	f := Finished{ReturnTo: flow.ReturnTo}
	if flow.SessionID != "" {
		at := slices.IndexFunc(r.Sessions, func(s Session) bool { return s.ID == flow.SessionID })
		if at < 0 || r.Sessions[at].ver != flow.SessionVer { // what was proved again was proved of the credentials of then
			return f, ErrFlow
		}
		f.Session, f.Again = r.Sessions[at], Proof{again: flow.SessionID}
	}
	if named.Error != nil {
		if _, err := s.store.endFlow(ctx, hash); err != nil {
			return f, err
		}
		return f, s.declined(provider, *named.Error)
	}
	f.Proof, err = s.prove(ctx, SignIn, provider, Attempt{Input: in, State: state, CallbackURL: flow.CallbackURL}, s.tally(ctx, provider), c.Finish)
	if tries <= 1 || err != nil && flow.Tries < tries {
		return f, err
	}
	switch ended, failed := s.store.endFlow(ctx, hash); {
	case failed != nil:
		f.Proof, err = Proof{}, failed
	case err == nil && !ended: // of several right answers at once, one counts
		f.Proof, err = Proof{}, ErrFlow
	case errors.Is(err, ErrInvalidCredentials):
		err = ErrFlow
	}
	return f, err
}

// keepState puts into the row what the provider wants to find at Finish. It is sealed: to who reads the table it would be half of what
// finishes the flow, such as PKCE's verifier, and the other half is in an address.
func (s *Service) keepState(r *flowRow, state []byte) {
	r.State = s.keys.Keys(keyring.Flow)[0].Seal(state, r.sealedFor())
}

// stateOf returns that, and false if it cannot be read any more: its secret was dropped, or it is that of another row.
func (s *Service) stateOf(r *flowRow) (state []byte, ok bool) {
	_, ok = s.keys.Find(keyring.Flow, func(k keyring.Key) bool {
		opened, err := k.Open(r.State, r.sealedFor())
		if err != nil {
			return false
		}
		state = opened
		return true
	})
	return state, ok
}

func (r *flowRow) sealedFor() string { return r.Provider + "\x00" + r.IDHash }

func (s *Service) challenger(provider, what string) (Challenger, error) {
	p, err := s.provider(provider)
	if err != nil {
		return nil, err
	}
	c, ok := p.(Challenger)
	if !ok {
		return nil, ErrUnsupported.Msg("%s not implemented for provider %s", what, provider)
	}
	return c, nil
}

// misconfigured are the errors by which a provider says that it does not like our request (RFC 6749, 4.1.2.1; OpenID Connect Core,
// 3.1.2.6): an operator wants to read them. Others are not logged: anybody writes there what they like.
var misconfigured = []string{
	"invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope", "server_error", "temporarily_unavailable",
	"request_not_supported", "request_uri_not_supported", "registration_not_supported", "invalid_request_uri", "invalid_request_object",
}

func (s *Service) declined(provider, code string) error {
	if !slices.Contains(misconfigured, code) {
		return ErrDeclined
	}
	s.log.Warn("a provider sends somebody back with an error", "provider", provider, "error", code)
	return ErrDeclined.Msg("The provider could not sign you in. Try again in a while, or sign in by another way.")
}

// Renew is a proof of Finish, held against what is stored now: for who cannot be asked to prove themselves again because what
// they brought is used up. It is for when Admit says ErrProofOutdated, and only of a provider that keeps no secret: what it
// says does not rest on what is stored. ErrProofOutdated: it does.
func (s *Service) Renew(ctx context.Context, p Proof) (Proof, error) {
	if p.provider == "" || p.unseen || p.action != SignIn || p.assertion.Secret != nil || s.HasSecret(p.provider) {
		return Proof{}, ErrProofOutdated
	}
	var err error
	p.basis, err = s.store.snapshot(ctx, p.provider, p.assertion.EntityID)
	return p, err
}

// hashed is how a random secret is kept: it can be looked up, and not be used by who reads the table.
func hashed(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
