package auth_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/auth/magiclink"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/email"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
)

// people is a service and what its methods can be called with.
type people struct {
	*auth.Service
	db          *database.DB
	ada         auth.Identity // signs in with a password, or as vouched for
	eve         auth.Identity // signs in with a password only, and has set it anew since proofOfEve was made
	newcomer    auth.Identity // is vouched for
	kept        auth.Identity // the hook refuses that it is deleted
	session     auth.Session  // of Ada
	token       string        // of it
	cookie      string        // of it
	ended       string        // a token of a session that was ended
	proof       auth.Proof    // of somebody new
	proofOfEve  auth.Proof
	flow        auth.Flow // of somebody who is known
	withVoucher string    // Ada's provider identity of vouching

	asked auth.PasswordResetRequested // of Ada
	reset string                      // Eve's token to reset her password

	again     auth.Proof // of Ada, in her session
	moves     string     // the token by which Ada will be ada@lovelace.example
	eves      auth.Session
	eveAsks   auth.EmailChangeRequested // whose token was not sent yet
	squatters auth.IdentityID           // who has registered that address

	proves    string                     // the token by which Ada proves her address
	eveProves auth.VerificationRequested // whose token was not sent yet
	unseen    auth.Proof                 // of a registration
	late      auth.IdentityID            // who registers
	completes string                     // the token by which they complete that
	tooLate   auth.IdentityID            // who registers with Ada's address

	mailed, portable string // flows of Ada's that wait for a code
	code             string // of the first
}

var errKept = errors.New("this identity is kept")

func newPeople(t *testing.T, db *database.DB, events event.Emitter) (p people) {
	t.Helper()
	byCode, err := magiclink.New(auth.NewMailings(ring(t, secret(1))), magiclink.Config{Mode: magiclink.Code}, magiclink.Options{})
	must(t, err)
	h := house{Service: newServiceWith(t, db, auth.Options{}, events, []auth.Provider{byCode}), db: db}
	p.Service, p.db = h.Service, db
	p.ada, p.eve, p.kept = h.register(t, "ada@example.com", "correct horse"), h.register(t, "eve@example.com", "correct horse"), h.register(t, "kept@example.com", "correct horse")
	ways, err := h.CreateProviderIdentities(t.Context(), auth.ProviderIdentityDraft{
		IdentityID: p.ada.ID, Provider: "vouching", EntityID: "ada", Secret: []byte("\x00\x01\xfe the secret of the voucher \""),
	})
	must(t, err)
	p.withVoucher = ways[0].ID
	p.newcomer, err = h.Authenticate(t.Context(), "vouching", input("name", "newcomer"))
	must(t, err)
	p.proofOfEve = h.prove(t, auth.SignIn, "eve@example.com", "correct horse")
	h.reset(t, "eve@example.com", "battery staple")
	gone, token, _ := h.open(t, p.ada, "user")
	must(t, h.EndSession(t.Context(), gone.ID))
	p.ended = token
	p.session, p.token, p.cookie = h.open(t, p.ada, "user")
	p.proof, err = h.Prove(t.Context(), auth.SignIn, "vouching", input("name", "somebody new"))
	must(t, err)
	_, err = h.ValidateCallback(t.Context(), "oidc", comeBack(h.begin(t, "oidc", nil), "good"))
	must(t, err)
	p.flow = h.begin(t, "oidc", nil)
	p.asked, err = h.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: emailpass.Name, EntityID: "Ada@example.com", ActorType: "user"})
	must(t, err)
	ofEve, err := h.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: emailpass.Name, EntityID: "eve@example.com", ActorType: "user"})
	must(t, err)
	made, err := h.CreatePasswordResetToken(t.Context(), ofEve, auth.ByMail)
	must(t, err)
	p.reset = made.Token
	p.again, err = h.ProveAgain(t.Context(), p.session, input("password", "correct horse"))
	must(t, err)
	asked, err := h.RequestEmailChange(t.Context(), p.session, p.again, "ada@example.com", "ada@lovelace.example")
	must(t, err)
	moves, err := h.CreateEmailChangeToken(t.Context(), asked)
	must(t, err)
	p.moves = moves.Token
	eve, err := h.signIn(t.Context(), "eve@example.com", "battery staple")
	must(t, err)
	p.eves, _, _ = h.open(t, eve, "user")
	again, err := h.ProveAgain(t.Context(), p.eves, input("password", "battery staple"))
	must(t, err)
	p.eveAsks, err = h.RequestEmailChange(t.Context(), p.eves, again, "eve@example.com", "new@example.com")
	must(t, err)
	p.squatters = h.register(t, "ada@lovelace.example", "correct horse").ID
	p.proves = h.provesBy(t, db, p.session, "ada@example.com")
	_, err = h.RequestVerification(t.Context(), p.eves, auth.VerificationRequest{Email: "eve@example.com"})
	must(t, err)
	p.eveProves = h.lastVerification(t, db, p.eves, "eve@example.com")
	p.unseen = h.unseen(t, "unseen@example.com", "correct horse")
	late, err := h.AdmitRegistration(t.Context(), h.unseen(t, "late@example.com", "correct horse"))
	must(t, err)
	tooLate, err := h.AdmitRegistration(t.Context(), h.unseen(t, "ada@example.com", "another horse"))
	must(t, err)
	p.late, p.tooLate = late.ID, tooLate.ID
	opened, _, _ := h.open(t, late, "user")
	p.completes = h.provesBy(t, db, opened, "late@example.com")
	mailed, err := h.BeginBound(t.Context(), magiclink.Name, input("email", "ada@example.com"), auth.Binding{Browser: "Ada's"})
	must(t, err)
	waits, err := h.MailedFlow(t.Context(), magiclink.Name, mailed.ID, "Ada's")
	must(t, err)
	sent, err := h.CreateSignInMail(t.Context(), waits.Request(magiclink.Name))
	must(t, err)
	p.mailed, p.code = mailed.ID, sent.Code
	portable, err := h.Begin(t.Context(), magiclink.Name, input("email", "ada@example.com"))
	must(t, err)
	p.portable = portable.ID
	h.OnDelete(func(_ context.Context, ids []auth.IdentityID) error {
		if slices.Contains(ids, p.kept.ID) {
			return errKept
		}
		return nil
	})
	return p
}

const (
	nobody    auth.IdentityID = "authid_01ARZ3NDEKTSV4RRFFQ69G5FAV"
	noSession auth.SessionID  = "authsess_01ARZ3NDEKTSV4RRFFQ69G5FAV"
	noWay                     = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

	passedOver = "what does not exist is passed over, and nothing else can be wrong with an id"
	noLookup   = "it looks for nothing that could be missing"
	fromAdmit  = "it is given what another method returned"
	onlyAnID   = "nothing but its absence can be wrong with an id"
)

// TestEveryMethodKeepsWhatAllOfThemPromise fails for a method that has no row here.
func TestEveryMethodKeepsWhatAllOfThemPromise(t *testing.T) {
	unknown := credentials("nobody@example.com", "correct horse")
	wrong := credentials("ada@example.com", "wrong horse")
	newPassword := input("password", "another staple")
	databasetest.Service[people]{
		Migrations: []database.Migrations{auth.Migrations()},
		New:        newPeople,
		Inspect:    wantNoSecret,
		Beside:     []string{"latchkey_auth_throttle"}, // where failures are counted
		Untested: map[string]string{
			"OnNames":               "it only registers; TestAPasswordIsNotMadeOfTheNamesOfWhoChoosesIt has it asked",
			"OnNotice":              "it only registers; TestTheOwnerIsToldAtTheAddressOfTheAccount of app/mail has it asked",
			"Take":                  "it writes counts only; throttle_test.go",
			"Try":                   "it writes counts only; throttle_test.go",
			"Watch":                 "it writes counts only; throttle_test.go",
			"PurgeThrottles":        "it deletes counts only; throttle_test.go",
			"OnDelete":              "it only registers; the rows of DeleteAuthIdentities and Join try a hook",
			"VerificationActorType": "it reads a token and no row; TestLinkThatAnotherActorTypeAskedForMakesNobodyAUser of the console",
			"CreateSignInMail":      "it reads a request and no row; TestWhatIsMailedIsGoodForItsTimeOnly of magiclink",
			"MailedFlowOf":          "it wants a link, where the others here have codes; TestALinkFindsItsFlowInTheBrowserInWhichItWasBegunOnly of magiclink",
			"RequestPasswordReset":  "it announces and writes nothing itself; reset_test.go",
		},
		Methods: map[string]databasetest.Method[people]{
			"ListAuthProviders": {
				Does:    databasetest.Reads,
				One:     func(_ context.Context, p people) (any, error) { return p.ListAuthProviders(), nil },
				Without: "it is asked for nothing in particular",
			},
			"DeviceToken": {
				Does:    databasetest.Reads,
				One:     func(_ context.Context, p people) (any, error) { return p.DeviceToken(p.session, ""), nil },
				Without: fromAdmit,
			},
			"Notice": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return p.Notice(ctx, p.ada.ID, auth.ProviderIdentity{})
				},
				Without: "of nobody there is nobody to tell, which is its answer",
			},
			"PublicKeys": {
				Does:    databasetest.Reads,
				One:     func(_ context.Context, p people) (any, error) { return p.PublicKeys(), nil },
				Without: "it is asked for nothing in particular",
			},

			// Proving and recording.

			"Authenticate": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return p.Authenticate(ctx, "vouching", input("name", "somebody"))
				},
				Unknown:   func(ctx context.Context, p people) (any, error) { return p.Authenticate(ctx, emailpass.Name, unknown) },
				UnknownIs: auth.ErrInvalidCredentials,
				Bad:       func(ctx context.Context, p people) (any, error) { return p.Authenticate(ctx, emailpass.Name, wrong) },
				BadIs:     auth.ErrInvalidCredentials,
			},
			"Register": {
				Does:      databasetest.Writes,
				One:       func(ctx context.Context, p people) (any, error) { return p.Register(ctx, emailpass.Name, unknown) },
				Unknown:   func(ctx context.Context, p people) (any, error) { return p.Register(ctx, "nobody", unknown) },
				UnknownIs: auth.ErrUnknownProvider,
				Bad:       func(ctx context.Context, p people) (any, error) { return p.Register(ctx, emailpass.Name, wrong) },
				BadIs:     auth.ErrIdentityExists,
			},
			"UpdateProvider": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, p people) (any, error) { return p.UpdateProvider(ctx, emailpass.Name, wrong) },
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.UpdateProvider(ctx, emailpass.Name, unknown)
				},
				UnknownIs: auth.ErrInvalidCredentials,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.UpdateProvider(ctx, emailpass.Name, credentials("ada@example.com", "short"))
				},
				BadIs: auth.ErrPassword,
			},
			"HasSecret": {
				Does:    databasetest.Reads,
				One:     func(_ context.Context, p people) (any, error) { return p.HasSecret(emailpass.Name), nil },
				Without: "what has none is no error",
			},
			"Explain": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return p.Explain(ctx, auth.ExplainQuery{Email: "Ada@example.com", Identities: []auth.IdentityID{p.eve.ID}, Watched: []string{"x"}})
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.Explain(ctx, auth.ExplainQuery{Email: "nobody@example.com", Identities: []auth.IdentityID{nobody, "\x00", "\xff"}})
				},
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.Explain(ctx, auth.ExplainQuery{Email: "nonsense"})
				},
				BadIs: email.ErrInvalid,
			},
			"CreatePasswordResetToken": {
				Does: databasetest.WritesSilently,
				One: func(ctx context.Context, p people) (any, error) {
					made, err := p.CreatePasswordResetToken(ctx, p.asked, auth.ByMail)
					return made.String(), err // whoever asks for the token gets it
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					p.asked.EntityID = "nobody@example.com"
					return p.CreatePasswordResetToken(ctx, p.asked, auth.ByMail)
				},
				UnknownIs: auth.ErrNotFound,
				Bad: func(ctx context.Context, p people) (any, error) {
					p.asked.Provider = "vouching"
					return p.CreatePasswordResetToken(ctx, p.asked, auth.ByMail)
				},
				BadIs: auth.ErrUnsupported,
			},
			"CheckPasswordResetToken": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return p.CheckPasswordResetToken(ctx, "user", emailpass.Name, p.reset)
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.CheckPasswordResetToken(ctx, "user", emailpass.Name, p.token)
				},
				UnknownIs: auth.ErrResetToken,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.CheckPasswordResetToken(ctx, "customer", emailpass.Name, p.reset)
				},
				BadIs: auth.ErrResetToken,
			},
			"ProveReset": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return p.ProveReset(ctx, "user", emailpass.Name, p.reset, newPassword)
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.ProveReset(ctx, "user", emailpass.Name, p.token, newPassword)
				},
				UnknownIs: auth.ErrResetToken,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.ProveReset(ctx, "user", emailpass.Name, p.reset, input("password", "short"))
				},
				BadIs: auth.ErrPassword,
			},
			"ResetPassword": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return p.ResetPassword(ctx, "user", emailpass.Name, p.reset, newPassword)
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.ResetPassword(ctx, "user", emailpass.Name, "nonsense", newPassword)
				},
				UnknownIs: auth.ErrResetToken,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.ResetPassword(ctx, "user", emailpass.Name, p.reset, input("password", "short"))
				},
				BadIs: auth.ErrPassword,
			},
			"ChangePassword": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return p.ChangePassword(ctx, p.session, emailpass.Name, auth.Input(`{"current_password":"correct horse","password":"battery staple"}`))
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					p.session.ID = noSession
					return p.ChangePassword(ctx, p.session, emailpass.Name, auth.Input(`{"current_password":"correct horse","password":"battery staple"}`))
				},
				UnknownIs: auth.ErrSession,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.ChangePassword(ctx, p.session, emailpass.Name, auth.Input(`{"current_password":"wrong horse","password":"battery staple"}`))
				},
				BadIs: auth.ErrInvalidCredentials,
			},
			"AsksForSecret": {
				Does:    databasetest.Reads,
				One:     func(ctx context.Context, p people) (any, error) { return p.AsksForSecret(ctx, p.ada.ID) },
				Without: "who has none, or is not there, is no error",
			},
			"ProveAgain": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return p.ProveAgain(ctx, p.session, input("password", "correct horse"))
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.ProveAgain(ctx, auth.Session{IdentityID: nobody}, input("password", "correct horse"))
				},
				UnknownIs: auth.ErrSignInAgain,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.ProveAgain(ctx, p.session, input("password", "wrong horse"))
				},
				BadIs: auth.ErrInvalidCredentials,
			},
			"RequestEmailChange": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return p.RequestEmailChange(ctx, p.session, p.again, "ada@example.com", "new@example.com")
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.RequestEmailChange(ctx, p.eves, p.again, "eve@example.com", "new@example.com")
				},
				UnknownIs: auth.ErrInvalidCredentials,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.RequestEmailChange(ctx, p.session, p.again, "ada@example.com", "no address")
				},
				BadIs: email.ErrInvalid,
			},
			"ProveWay": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return p.ProveWay(ctx, "vouching", input("name", "countess"))
				},
				Unknown:   func(ctx context.Context, p people) (any, error) { return p.ProveWay(ctx, "nope", nil) },
				UnknownIs: auth.ErrUnknownProvider,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.ProveWay(ctx, emailpass.Name, credentials("ada@example.com", "wrong horse"))
				},
				BadIs: auth.ErrIdentityExists,
			},
			"OwnerOf": {
				Does:    databasetest.Reads,
				One:     func(ctx context.Context, p people) (any, error) { return p.OwnerOf(ctx, p.proof) },
				Unknown: func(ctx context.Context, p people) (any, error) { return p.OwnerOf(ctx, auth.Proof{}) },
				Without: "whose it is not is nobody's",
			},
			"LinkWay": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return both(p.LinkWay(ctx, p.session, p.again, p.proof, "", nil))
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					p.session.ID = noSession
					return both(p.LinkWay(ctx, p.session, p.again, p.proof, "", nil))
				},
				UnknownIs: auth.ErrSession,
				Bad: func(ctx context.Context, p people) (any, error) {
					return both(p.LinkWay(ctx, p.eves, p.again, p.proof, "", nil))
				},
				BadIs: auth.ErrInvalidCredentials,
			},
			"UnlinkWay": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return both(p.UnlinkWay(ctx, p.session, p.again, p.withVoucher, nil))
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return both(p.UnlinkWay(ctx, p.session, p.again, noWay, nil))
				},
				UnknownIs: auth.ErrNotFound,
				Bad: func(ctx context.Context, p people) (any, error) {
					return both(p.UnlinkWay(ctx, p.eves, p.again, p.withVoucher, nil))
				},
				BadIs: auth.ErrInvalidCredentials,
			},
			"HoldAgain": {
				Does: databasetest.Reads,
				One:  func(ctx context.Context, p people) (any, error) { return nil, p.HoldAgain(ctx, p.session, p.again) },
				Unknown: func(ctx context.Context, p people) (any, error) {
					p.session.ID = noSession
					return nil, p.HoldAgain(ctx, p.session, p.again)
				},
				UnknownIs: auth.ErrSession,
				Bad:       func(ctx context.Context, p people) (any, error) { return nil, p.HoldAgain(ctx, p.eves, p.again) },
				BadIs:     auth.ErrInvalidCredentials,
			},
			"CreateEmailChangeToken": {
				Does: databasetest.WritesSilently,
				One: func(ctx context.Context, p people) (any, error) {
					made, err := p.CreateEmailChangeToken(ctx, p.eveAsks)
					return made.String(), err // whoever asks for the token gets it
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					p.eveAsks.IdentityID = nobody
					return p.CreateEmailChangeToken(ctx, p.eveAsks)
				},
				UnknownIs: auth.ErrEmailChange,
				Bad: func(ctx context.Context, p people) (any, error) {
					p.eveAsks.ID += "X"
					return p.CreateEmailChangeToken(ctx, p.eveAsks)
				},
				BadIs: auth.ErrEmailChange,
			},
			"CheckEmailChangeToken": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return p.CheckEmailChangeToken(ctx, p.session, p.moves)
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.CheckEmailChangeToken(ctx, p.session, p.token)
				},
				UnknownIs: auth.ErrEmailChange,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.CheckEmailChangeToken(ctx, p.eves, p.moves)
				},
				BadIs: auth.ErrEmailChangeElsewhere,
			},
			"ConfirmEmailChange": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					c, now, err := p.ConfirmEmailChange(ctx, p.session, p.moves, []auth.IdentityID{p.squatters})
					return []any{c, now}, err
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					_, _, err := p.ConfirmEmailChange(ctx, p.eves, p.moves, []auth.IdentityID{p.squatters})
					return nil, err
				},
				UnknownIs: auth.ErrEmailChangeElsewhere,
				Bad: func(ctx context.Context, p people) (any, error) {
					_, _, err := p.ConfirmEmailChange(ctx, p.session, p.moves, nil)
					return nil, err
				},
				BadIs: auth.ErrEntityTaken,
			},
			"CancelEmailChanges": {
				Does: databasetest.WritesSilently,
				One: func(ctx context.Context, p people) (any, error) {
					return nil, p.CancelEmailChanges(ctx, "ada@lovelace.example")
				},
				Many: func(ctx context.Context, p people) (any, error) {
					return nil, p.CancelEmailChanges(ctx, "nobody@example.com", "ada@lovelace.example")
				},
				None: func(ctx context.Context, p people) (any, error) { return nil, p.CancelEmailChanges(ctx) },
				Unknown: func(ctx context.Context, p people) (any, error) {
					return nil, p.CancelEmailChanges(ctx, "nobody@example.com")
				},
				Without: passedOver,
			},
			"Prove": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return p.Prove(ctx, auth.SignIn, emailpass.Name, credentials("ada@example.com", "correct horse"))
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.Prove(ctx, auth.SignIn, emailpass.Name, unknown)
				},
				UnknownIs: auth.ErrInvalidCredentials,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.Prove(ctx, auth.SignIn, emailpass.Name, wrong)
				},
				BadIs: auth.ErrInvalidCredentials,
			},
			"Admit": {
				Does:      databasetest.Writes,
				One:       func(ctx context.Context, p people) (any, error) { return p.Admit(ctx, p.proof) },
				Unknown:   func(ctx context.Context, p people) (any, error) { return p.Admit(ctx, auth.Proof{}) },
				UnknownIs: auth.ErrInvalidCredentials,
				Bad:       func(ctx context.Context, p people) (any, error) { return p.Admit(ctx, p.proofOfEve) },
				BadIs:     auth.ErrInvalidCredentials,
			},
			"Begin": {
				Does:      databasetest.WritesSilently,
				One:       func(ctx context.Context, p people) (any, error) { return p.Begin(ctx, "oidc", nil) },
				Unknown:   func(ctx context.Context, p people) (any, error) { return p.Begin(ctx, "nobody", nil) },
				UnknownIs: auth.ErrUnknownProvider,
				Bad:       func(ctx context.Context, p people) (any, error) { return p.Begin(ctx, emailpass.Name, nil) },
				BadIs:     auth.ErrUnsupported,
			},
			"Finish": {
				Does: databasetest.WritesSilently, // the flow is used up
				One: func(ctx context.Context, p people) (any, error) {
					return p.Finish(ctx, "oidc", comeBack(p.flow, "good"))
				},
				Unknown:   func(ctx context.Context, p people) (any, error) { return p.Finish(ctx, "oidc", input("state", "none")) },
				UnknownIs: auth.ErrFlow,
				Without:   "a refusal uses the flow up as well, as flow_test.go says",
			},
			"MailedFlow": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					f, err := p.MailedFlow(ctx, magiclink.Name, p.mailed, "Ada's")
					return f.Email, err // whoever has the flow gets it
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.MailedFlow(ctx, magiclink.Name, "none", "Ada's")
				},
				UnknownIs: auth.ErrFlow,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.MailedFlow(ctx, magiclink.Name, p.mailed, "Eve's")
				},
				BadIs: auth.ErrFlow,
			},
			"KeepMailedFlow": {
				Does: databasetest.WritesSilently,
				One: func(ctx context.Context, p people) (any, error) {
					return p.KeepMailedFlow(ctx, magiclink.Name, p.portable, "Ada's")
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.KeepMailedFlow(ctx, magiclink.Name, "none", "Ada's")
				},
				UnknownIs: auth.ErrFlow,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.KeepMailedFlow(ctx, magiclink.Name, p.mailed, "Eve's")
				},
				BadIs: auth.ErrFlow,
			},
			"MailAgain": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return p.MailAgain(ctx, magiclink.Name, p.mailed, "Ada's", input("email", "ada@lovelace.example"))
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.MailAgain(ctx, magiclink.Name, "none", "Ada's", input("email", "ada@example.com"))
				},
				UnknownIs: auth.ErrFlow,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.MailAgain(ctx, magiclink.Name, p.mailed, "Ada's", input("email", "nonsense"))
				},
				BadIs: email.ErrInvalid,
			},
			"TryMailed": {
				Does: databasetest.Reads, // the try is given back
				One: func(ctx context.Context, p people) (any, error) {
					return nil, p.TryMailed(ctx, magiclink.Name, p.mailed, "Ada's", p.code)
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return nil, p.TryMailed(ctx, magiclink.Name, "none", "Ada's", p.code)
				},
				UnknownIs: auth.ErrFlow,
				Without:   "a wrong one counts, as TestOfAnyNumberOfGuessesAtOnceAFewAreLookedAt of magiclink says",
			},
			"BeginBound": {
				Does: databasetest.WritesSilently,
				One: func(ctx context.Context, p people) (any, error) {
					return p.BeginBound(ctx, "oidc", nil, auth.Binding{ActorType: "user", Browser: "secret", Session: p.session, Again: p.again})
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.BeginBound(ctx, "nobody", nil, auth.Binding{})
				},
				UnknownIs: auth.ErrUnknownProvider,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.BeginBound(ctx, "oidc", nil, auth.Binding{Session: p.session})
				},
				BadIs: auth.ErrInvalidCredentials,
			},
			"FinishBound": {
				Does: databasetest.WritesSilently, // the flow is used up
				One: func(ctx context.Context, p people) (any, error) {
					return p.FinishBound(ctx, "oidc", comeBack(p.flow, "good"), auth.Return{})
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.FinishBound(ctx, "oidc", comeBack(p.flow, "good"), auth.Return{ActorType: "user"})
				},
				UnknownIs: auth.ErrFlow,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.FinishBound(ctx, "oidc", comeBack(p.flow, "good"), auth.Return{Browser: "another"})
				},
				BadIs: auth.ErrFlow,
			},
			"Renew": {
				Does:      databasetest.Reads,
				One:       func(ctx context.Context, p people) (any, error) { return p.Renew(ctx, p.proof) },
				Unknown:   func(ctx context.Context, p people) (any, error) { return p.Renew(ctx, auth.Proof{}) },
				UnknownIs: auth.ErrProofOutdated,
				Bad:       func(ctx context.Context, p people) (any, error) { return p.Renew(ctx, p.proofOfEve) },
				BadIs:     auth.ErrProofOutdated,
			},
			"ValidateCallback": {
				Does: databasetest.WritesSilently, // of somebody who is known
				One: func(ctx context.Context, p people) (any, error) {
					return p.ValidateCallback(ctx, "oidc", comeBack(p.flow, "good"))
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.ValidateCallback(ctx, "oidc", input("state", "none"))
				},
				UnknownIs: auth.ErrFlow,
				Without:   "a refusal uses the flow up as well, as flow_test.go says",
			},

			// Identities.

			"RetrieveAuthIdentity": {
				Does:      databasetest.Reads,
				One:       func(ctx context.Context, p people) (any, error) { return p.RetrieveAuthIdentity(ctx, p.ada.ID) },
				Unknown:   func(ctx context.Context, p people) (any, error) { return p.RetrieveAuthIdentity(ctx, nobody) },
				UnknownIs: auth.ErrNotFound,
				Bad:       func(ctx context.Context, p people) (any, error) { return p.RetrieveAuthIdentity(ctx, "\x00") },
				BadIs:     auth.ErrNotFound,
			},
			"ListAuthIdentities": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return p.ListAuthIdentities(ctx, auth.IdentityFilter{}, auth.Page{})
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.ListAuthIdentities(ctx, auth.IdentityFilter{IDs: []auth.IdentityID{nobody, "\x00", "\xff"}}, auth.Page{})
				},
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.ListAuthIdentities(ctx, auth.IdentityFilter{}, auth.Page{Order: "ver"})
				},
				BadIs: auth.ErrOrder,
			},
			"ListAndCountAuthIdentities": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return both(p.ListAndCountAuthIdentities(ctx, auth.IdentityFilter{}, auth.Page{}))
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return both(p.ListAndCountAuthIdentities(ctx, auth.IdentityFilter{EntityID: "\x00"}, auth.Page{}))
				},
				Bad: func(ctx context.Context, p people) (any, error) {
					return both(p.ListAndCountAuthIdentities(ctx, auth.IdentityFilter{}, auth.Page{Offset: -1}))
				},
				BadIs: auth.ErrQuery,
			},
			"CreateAuthIdentities": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, p people) (any, error) { return p.CreateAuthIdentities(ctx, drafts("new")...) },
				Many: func(ctx context.Context, p people) (any, error) {
					return p.CreateAuthIdentities(ctx, drafts("new", "newer", "newest")...)
				},
				None: func(ctx context.Context, p people) (any, error) { return p.CreateAuthIdentities(ctx) },
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.CreateAuthIdentities(ctx, drafts("new")[0], auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{{Provider: "nobody", EntityID: "x"}}})
				},
				UnknownIs: auth.ErrUnknownProvider,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.CreateAuthIdentities(ctx, drafts("new", "ada", "newer")...)
				},
				BadIs: auth.ErrEntityTaken,
			},
			"UpdateAuthIdentities": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return p.UpdateAuthIdentities(ctx, planned(p.ada.ID, "pro"))
				},
				Many: func(ctx context.Context, p people) (any, error) {
					return p.UpdateAuthIdentities(ctx, planned(p.ada.ID, "pro"), planned(p.eve.ID, "free"))
				},
				None: func(ctx context.Context, p people) (any, error) { return p.UpdateAuthIdentities(ctx) },
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.UpdateAuthIdentities(ctx, planned(p.ada.ID, "pro"), planned(nobody, "free"))
				},
				UnknownIs: auth.ErrNotFound,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.UpdateAuthIdentities(ctx, planned(p.ada.ID, "pro"), planned(p.eve.ID, strings.Repeat("x", 5000)), planned(p.kept.ID, "free"))
				},
				BadIs: auth.ErrInvalid,
			},
			"DeleteAuthIdentities": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, p people) (any, error) { return nil, p.DeleteAuthIdentities(ctx, p.ada.ID) },
				Many: func(ctx context.Context, p people) (any, error) {
					return nil, p.DeleteAuthIdentities(ctx, p.ada.ID, nobody, p.eve.ID)
				},
				None: func(ctx context.Context, p people) (any, error) { return nil, p.DeleteAuthIdentities(ctx) },
				Unknown: func(ctx context.Context, p people) (any, error) {
					return nil, p.DeleteAuthIdentities(ctx, nobody, "\x00")
				},
				Bad: func(ctx context.Context, p people) (any, error) {
					return nil, p.DeleteAuthIdentities(ctx, p.ada.ID, p.kept.ID, p.eve.ID)
				},
				BadIs: errKept,
			},
			"Join": {
				Does:    databasetest.Writes,
				One:     func(ctx context.Context, p people) (any, error) { return nil, p.Join(ctx, p.newcomer.ID, p.ada.ID) },
				Unknown: func(ctx context.Context, p people) (any, error) { return nil, p.Join(ctx, nobody, p.ada.ID) },
				Bad:     func(ctx context.Context, p people) (any, error) { return nil, p.Join(ctx, p.kept.ID, p.ada.ID) },
				BadIs:   errKept,
			},
			"VerifyEmail": {
				Does: databasetest.WritesSilently,
				One: func(ctx context.Context, p people) (any, error) {
					return nil, p.VerifyEmail(ctx, p.ada.ID, "ada@example.com")
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return nil, p.VerifyEmail(ctx, nobody, "ada@example.com")
				},
				Without: "another address, or none, does nothing and is no error",
			},
			"Revoke": {
				Does:    databasetest.Writes,
				One:     func(ctx context.Context, p people) (any, error) { return nil, p.Revoke(ctx, p.ada.ID) },
				Unknown: func(ctx context.Context, p people) (any, error) { return nil, p.Revoke(ctx, nobody) },
				Without: passedOver,
			},

			// Ways to sign in.

			"RetrieveProviderIdentity": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return p.RetrieveProviderIdentity(ctx, p.withVoucher)
				},
				Unknown:   func(ctx context.Context, p people) (any, error) { return p.RetrieveProviderIdentity(ctx, noWay) },
				UnknownIs: auth.ErrNotFound,
				Bad:       func(ctx context.Context, p people) (any, error) { return p.RetrieveProviderIdentity(ctx, "\x00") },
				BadIs:     auth.ErrNotFound,
			},
			"ListProviderIdentities": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return p.ListProviderIdentities(ctx, auth.ProviderIdentityFilter{}, auth.Page{})
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.ListProviderIdentities(ctx, auth.ProviderIdentityFilter{IDs: []string{noWay, "\x00", "\xff"}}, auth.Page{})
				},
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.ListProviderIdentities(ctx, auth.ProviderIdentityFilter{}, auth.Page{Order: "secret"})
				},
				BadIs: auth.ErrOrder,
			},
			"ListAndCountProviderIdentities": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return both(p.ListAndCountProviderIdentities(ctx, auth.ProviderIdentityFilter{}, auth.Page{Limit: auth.CountOnly}))
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return both(p.ListAndCountProviderIdentities(ctx, auth.ProviderIdentityFilter{Provider: "\x00"}, auth.Page{}))
				},
				Bad: func(ctx context.Context, p people) (any, error) {
					return both(p.ListAndCountProviderIdentities(ctx, auth.ProviderIdentityFilter{}, auth.Page{Limit: -2}))
				},
				BadIs: auth.ErrQuery,
			},
			"CreateProviderIdentities": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return p.CreateProviderIdentities(ctx, vouched(p.ada.ID, "new"))
				},
				Many: func(ctx context.Context, p people) (any, error) {
					return p.CreateProviderIdentities(ctx, vouched(p.ada.ID, "new"), vouched(p.eve.ID, "newer"))
				},
				None: func(ctx context.Context, p people) (any, error) { return p.CreateProviderIdentities(ctx) },
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.CreateProviderIdentities(ctx, vouched(p.ada.ID, "new"), vouched(nobody, "newer"))
				},
				UnknownIs: auth.ErrNotFound,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.CreateProviderIdentities(ctx, vouched(p.ada.ID, "new"), vouched(p.eve.ID, "ada"), vouched(p.eve.ID, "newer"))
				},
				BadIs: auth.ErrEntityTaken,
			},
			"UpdateProviderIdentities": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return p.UpdateProviderIdentities(ctx, noted(p.withVoucher, "x"))
				},
				Many: func(ctx context.Context, p people) (any, error) {
					return p.UpdateProviderIdentities(ctx, noted(p.withVoucher, "x"), noted(p.eve.Providers[0].ID, "y"))
				},
				None: func(ctx context.Context, p people) (any, error) { return p.UpdateProviderIdentities(ctx) },
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.UpdateProviderIdentities(ctx, noted(p.withVoucher, "x"), noted(noWay, "y"))
				},
				UnknownIs: auth.ErrNotFound,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.UpdateProviderIdentities(ctx, noted(p.withVoucher, "x"), noted(p.eve.Providers[0].ID, "\x00"))
				},
				BadIs: auth.ErrInvalid,
			},
			"DeleteProviderIdentities": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return nil, p.DeleteProviderIdentities(ctx, p.withVoucher)
				},
				Many: func(ctx context.Context, p people) (any, error) {
					return nil, p.DeleteProviderIdentities(ctx, p.withVoucher, noWay)
				},
				None: func(ctx context.Context, p people) (any, error) { return nil, p.DeleteProviderIdentities(ctx) },
				Unknown: func(ctx context.Context, p people) (any, error) {
					return nil, p.DeleteProviderIdentities(ctx, noWay, "\x00")
				},
				Bad: func(ctx context.Context, p people) (any, error) {
					return nil, p.DeleteProviderIdentities(ctx, p.withVoucher, p.eve.Providers[0].ID)
				},
				BadIs: auth.ErrLastWay,
			},

			// Proving an address, and registering by that.

			"RequestVerification": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return p.RequestVerification(ctx, p.session, auth.VerificationRequest{Email: "Ada@example.com"})
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					p.session.ID = noSession
					return p.RequestVerification(ctx, p.session, auth.VerificationRequest{Email: "ada@example.com"})
				},
				UnknownIs: auth.ErrSession,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.RequestVerification(ctx, p.session, auth.VerificationRequest{Email: "eve@example.com"})
				},
				BadIs: auth.ErrVerificationAddress,
			},
			"CreateVerificationToken": {
				Does: databasetest.WritesSilently,
				One: func(ctx context.Context, p people) (any, error) {
					made, err := p.CreateVerificationToken(ctx, p.eveProves)
					return made.String(), err // whoever asks for the token gets it
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					p.eveProves.IdentityID = nobody
					return p.CreateVerificationToken(ctx, p.eveProves)
				},
				UnknownIs: auth.ErrVerification,
				Bad: func(ctx context.Context, p people) (any, error) {
					p.eveProves.ID += "X"
					return p.CreateVerificationToken(ctx, p.eveProves)
				},
				BadIs: auth.ErrVerification,
			},
			"CheckVerificationToken": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return p.CheckVerificationToken(ctx, p.session, p.proves)
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.CheckVerificationToken(ctx, p.session, p.token)
				},
				UnknownIs: auth.ErrVerification,
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.CheckVerificationToken(ctx, p.eves, p.proves)
				},
				BadIs: auth.ErrVerificationElsewhere,
			},
			"ConfirmVerification": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return p.ConfirmVerification(ctx, p.session, p.proves)
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.ConfirmVerification(ctx, p.session, p.moves)
				},

				UnknownIs: auth.ErrVerification,
				Bad:       func(ctx context.Context, p people) (any, error) { return p.ConfirmVerification(ctx, p.eves, p.proves) },
				BadIs:     auth.ErrVerificationElsewhere,
			},
			"ProveRegistration": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return both(p.ProveRegistration(ctx, emailpass.Name, wrong))
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return both(p.ProveRegistration(ctx, "nobody", wrong))
				},
				UnknownIs: auth.ErrUnknownProvider,
				Bad: func(ctx context.Context, p people) (any, error) {
					return both(p.ProveRegistration(ctx, emailpass.Name, credentials("ada@example.com", "short")))
				},
				BadIs: auth.ErrPassword,
			},
			"AdmitRegistration": {
				Does:    databasetest.Writes,
				One:     func(ctx context.Context, p people) (any, error) { return p.AdmitRegistration(ctx, p.unseen) },
				Bad:     func(ctx context.Context, p people) (any, error) { return p.AdmitRegistration(ctx, p.proof) },
				BadIs:   auth.ErrInvalidCredentials,
				Without: fromAdmit,
			},
			"Registering": {
				Does:    databasetest.Reads,
				One:     func(ctx context.Context, p people) (any, error) { return p.Registering(ctx, p.late) },
				Unknown: func(ctx context.Context, p people) (any, error) { return p.Registering(ctx, nobody) },
				Without: onlyAnID,
			},
			"CompleteRegistration": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return nil, p.CompleteRegistration(ctx, p.late, "late@example.com")
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return nil, p.CompleteRegistration(ctx, p.late, "ada@example.com")
				},
				Bad: func(ctx context.Context, p people) (any, error) {
					return nil, p.CompleteRegistration(ctx, p.tooLate, "ada@example.com")
				},
				BadIs: auth.ErrRegistered,
			},
			"ProveRegistered": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return both(p.ProveRegistered(ctx, p.completes, input("password", "correct horse")))
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return both(p.ProveRegistered(ctx, p.proves, input("password", "correct horse")))
				},
				Bad: func(ctx context.Context, p people) (any, error) {
					return both(p.ProveRegistered(ctx, p.completes, input("password", "wrong horse")))
				},
				BadIs: auth.ErrInvalidCredentials,
			},

			// Sessions and tokens.

			"OpenSession": {
				Does: databasetest.WritesSilently,
				One: func(ctx context.Context, p people) (any, error) {
					return p.OpenSession(ctx, p.ada, "user", auth.Client{UserAgent: "\x00\xff"})
				},
				Without: fromAdmit,
			},
			"SetCookie": {
				Does:      databasetest.WritesSilently,
				One:       func(ctx context.Context, p people) (any, error) { return p.SetCookie(ctx, p.session) },
				Unknown:   func(ctx context.Context, p people) (any, error) { return p.SetCookie(ctx, auth.Session{ID: noSession}) },
				UnknownIs: auth.ErrSession,
				Without:   onlyAnID,
			},
			"CheckCookie": {
				Does:      databasetest.Reads,
				One:       func(ctx context.Context, p people) (any, error) { return p.CheckCookie(ctx, p.cookie) },
				Unknown:   func(ctx context.Context, p people) (any, error) { return p.CheckCookie(ctx, "nobody's") },
				UnknownIs: auth.ErrSession,
				Without:   "a cookie is known or it is not",
			},
			"CheckToken": {
				Does:      databasetest.Reads,
				One:       func(ctx context.Context, p people) (any, error) { return both(p.CheckToken(ctx, p.token)) },
				Unknown:   func(ctx context.Context, p people) (any, error) { return both(p.CheckToken(ctx, p.ended)) },
				UnknownIs: auth.ErrSession,
				Bad:       func(ctx context.Context, p people) (any, error) { return both(p.CheckToken(ctx, "nonsense")) },
				BadIs:     auth.ErrToken,
			},
			"HoldSession": {
				Does: databasetest.Reads,
				One:  func(ctx context.Context, p people) (any, error) { return nil, p.HoldSession(ctx, p.session) },
				Unknown: func(ctx context.Context, p people) (any, error) {
					return nil, p.HoldSession(ctx, auth.Session{ID: noSession})
				},
				UnknownIs: auth.ErrSession,
				Without:   onlyAnID,
			},
			"EndSession": {
				Does:      databasetest.Writes,
				One:       func(ctx context.Context, p people) (any, error) { return nil, p.EndSession(ctx, p.session.ID) },
				Unknown:   func(ctx context.Context, p people) (any, error) { return nil, p.EndSession(ctx, noSession) },
				UnknownIs: auth.ErrSession,
				Without:   onlyAnID,
			},
			"EndSessions": {
				Does:    databasetest.Writes,
				One:     func(ctx context.Context, p people) (any, error) { return nil, p.EndSessions(ctx, p.ada.ID, "", "") },
				Unknown: func(ctx context.Context, p people) (any, error) { return nil, p.EndSessions(ctx, nobody, "user", "") },
				Without: passedOver,
			},
			"RecheckSession": {
				Does:      databasetest.Reads,
				One:       func(ctx context.Context, p people) (any, error) { return nil, p.RecheckSession(ctx, p.session.ID) },
				Unknown:   func(ctx context.Context, p people) (any, error) { return nil, p.RecheckSession(ctx, noSession) },
				UnknownIs: auth.ErrSession,
				Without:   onlyAnID,
			},
			"ListSessions": {
				Does:    databasetest.Reads,
				One:     func(ctx context.Context, p people) (any, error) { return p.ListSessions(ctx, p.ada.ID, auth.Page{}) },
				Unknown: func(ctx context.Context, p people) (any, error) { return p.ListSessions(ctx, "\x00", auth.Page{}) },
				Bad: func(ctx context.Context, p people) (any, error) {
					return p.ListSessions(ctx, p.ada.ID, auth.Page{Order: "secret_hash"})
				},
				BadIs: auth.ErrOrder,
			},
			"ListAndCountSessions": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return both(p.ListAndCountSessions(ctx, p.ada.ID, auth.Page{Limit: auth.CountOnly}))
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return both(p.ListAndCountSessions(ctx, nobody, auth.Page{}))
				},
				Bad: func(ctx context.Context, p people) (any, error) {
					return both(p.ListAndCountSessions(ctx, p.ada.ID, auth.Page{Offset: -1}))
				},
				BadIs: auth.ErrQuery,
			},
			"EndSessionOf": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return p.EndSessionOf(ctx, p.ada.ID, p.session.ID, auth.EndedByOwner)
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.EndSessionOf(ctx, p.eve.ID, p.session.ID, auth.EndedByOwner)
				},
				Without: passedOver,
			},
			"EndOtherSessions": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return both(p.EndOtherSessions(ctx, p.session))
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					p.session.ID = noSession
					return both(p.EndOtherSessions(ctx, p.session))
				},
				UnknownIs: auth.ErrSession,
				Bad: func(ctx context.Context, p people) (any, error) {
					p.session.IdentityID = p.eve.ID
					return both(p.EndOtherSessions(ctx, p.session))
				},
				BadIs: auth.ErrSession,
			},
			"EndAllSessions": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, p people) (any, error) {
					return p.EndAllSessions(ctx, p.ada.ID, auth.EndedByOperator)
				},
				Unknown: func(ctx context.Context, p people) (any, error) {
					return p.EndAllSessions(ctx, nobody, auth.EndedByOperator)
				},
				Without: passedOver,
			},
			"EndEverySession": {
				Does:    databasetest.Writes,
				One:     func(ctx context.Context, p people) (any, error) { return both(p.EndEverySession(ctx)) },
				Without: "it is asked for nothing in particular",
			},
			"HoldUnused": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, p people) (any, error) {
					return p.HoldUnused(ctx, p.ada.ID, time.Now())
				},
				Unknown: func(ctx context.Context, p people) (any, error) { return p.HoldUnused(ctx, nobody, time.Now()) },
				Without: onlyAnID,
			},
			"PurgeSessions":      purges((*auth.Service).PurgeSessions, "auth_session", "expires_at"),
			"PurgeFlows":         purges((*auth.Service).PurgeFlows, "auth_flow", "expires_at"),
			"PurgeOneTimeTokens": purges((*auth.Service).PurgeOneTimeTokens, "one_time_token", "expires_at", "issued_at"),
			"PurgeEmailChanges":  purges((*auth.Service).PurgeEmailChanges, "email_change", "expires_at", "issued_at"),
			"PurgeVerifications": purges((*auth.Service).PurgeVerifications, "verification", "expires_at", "requested_at"),
			"Token": {
				Does:    databasetest.Reads,
				One:     func(_ context.Context, p people) (any, error) { return p.Token(p.session, p.ada, auth.Actor{}) },
				Without: fromAdmit,
			},
		},
	}.Test(t, (*auth.Service)(nil))
}

// purges is the row of a method that deletes what has expired, once all there is has.
func purges(purge func(*auth.Service, context.Context, int) (int, error), table string, times ...string) databasetest.Method[people] {
	return databasetest.Method[people]{
		Does: databasetest.WritesSilently,
		One: func(ctx context.Context, p people) (any, error) {
			var n int
			err := p.db.InTx(ctx, func(ctx context.Context) (err error) {
				for _, column := range times {
					_, err := p.db.Conn(ctx).NewUpdate().TableExpr("latchkey_"+table).Set("? = ?", bun.Ident(column), database.Now().AddDate(0, 0, -3)).Where("TRUE").Exec(ctx)
					if err != nil {
						return err
					}
				}
				if n, err = purge(p.Service, ctx, 100); err == nil && n == 0 {
					err = errors.New("nothing was purged")
				}
				return err
			})
			return n, err
		},
		Without: noLookup,
	}
}

// both makes one result of two.
func both[A, B any](a A, b B, err error) (any, error) { return []any{a, b}, err }

// drafts are identities to be, each of which is vouched for by a name and can have a password.
func drafts(names ...string) (out []auth.IdentityDraft) {
	for _, name := range names {
		out = append(out, auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{
			vouched("", name), {Provider: emailpass.Name, EntityID: name + "@example.org", Secret: []byte("$hb1$of " + name + "$$2a$04$" + strings.Repeat("a", 53))},
		}})
	}
	return out
}

func vouched(owner auth.IdentityID, name string) auth.ProviderIdentityDraft {
	return auth.ProviderIdentityDraft{IdentityID: owner, Provider: "vouching", EntityID: name, Secret: []byte("what proves " + name)}
}

func planned(id auth.IdentityID, plan string) auth.IdentityUpdate {
	return auth.IdentityUpdate{ID: id, AppMetadata: auth.Merge(map[string]any{"plan": plan})}
}

func noted(id, note string) auth.ProviderIdentityUpdate {
	return auth.ProviderIdentityUpdate{ID: id, UserMetadata: auth.Merge(map[string]any{"note": note})}
}

// wantNoSecret looks for the secrets that are kept, in any form, in whatever a method returned or announced.
func wantNoSecret(t *testing.T, p people, method string, out any) {
	t.Helper()
	var secrets [][]byte
	for _, table := range []string{"latchkey_provider_identity", "latchkey_registration"} {
		var some [][]byte
		must(t, p.db.Conn(t.Context()).NewSelect().Table(table).Column("secret").Where("secret IS NOT NULL").Scan(t.Context(), &some))
		secrets = append(secrets, some...)
	}
	if len(secrets) == 0 && !strings.HasPrefix(method, "Delete") {
		t.Error("nothing secret is kept: this finds nothing")
	}
	for _, shown := range renderings(t, out) {
		for _, secret := range secrets {
			for form, text := range forms(secret) {
				if strings.Contains(shown, text) {
					t.Errorf("%s shows a secret, as %s: %s", method, form, shown)
				}
			}
		}
	}
}

// renderings are the ways in which a value comes to be seen.
func renderings(t *testing.T, v any) []string {
	t.Helper()
	data, err := json.Marshal(v)
	must(t, err)
	shown := []string{string(data), fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v)}
	if token, ok := v.(string); ok {
		for part := range strings.SplitSeq(token, ".") {
			if claims, err := base64.RawURLEncoding.DecodeString(part); err == nil {
				shown = append(shown, string(claims))
			}
		}
	}
	return shown
}

// forms are the spellings of a secret.
func forms(secret []byte) map[string]string {
	quoted, _ := json.Marshal(string(secret))
	listed := fmt.Sprint(secret)
	return map[string]string{
		"itself": string(secret), "JSON": string(bytes.Trim(quoted, `"`)), "Go": strings.Trim(fmt.Sprintf("%q", secret), `"`),
		"bytes": strings.Trim(listed, "[]"), "Go bytes": strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", secret), "[]byte{"), "}"),
		"hexadecimal": hex.EncodeToString(secret), "HEXADECIMAL": strings.ToUpper(hex.EncodeToString(secret)),
		"base64": base64.StdEncoding.EncodeToString(secret), "raw base64": base64.RawStdEncoding.EncodeToString(secret),
		"URL base64": base64.URLEncoding.EncodeToString(secret), "raw URL base64": base64.RawURLEncoding.EncodeToString(secret),
	}
}

func TestSecretsAreFoundInEveryForm(t *testing.T) {
	secret := []byte("\x00\x01\xfe the secret of the voucher \"")
	for name, leak := range map[string]any{
		"text": string(secret), "bytes": secret, "in a struct": struct{ Secret []byte }{secret}, "unexported": struct{ secret []byte }{secret},
		"a list": []any{1, [][]byte{secret}}, "hexadecimal": fmt.Sprintf("%x", secret), "base64": base64.RawURLEncoding.EncodeToString(secret),
		"a token": "e30." + base64.RawURLEncoding.EncodeToString(append([]byte("before"), secret...)) + ".e30", "quoted": fmt.Sprintf("%q", secret),
	} {
		found := slices.ContainsFunc(renderings(t, leak), func(shown string) bool {
			for _, text := range forms(secret) {
				if strings.Contains(shown, text) {
					return true
				}
			}
			return false
		})
		if !found {
			t.Errorf("%s: the secret is not found in %q", name, renderings(t, leak))
		}
	}
}
