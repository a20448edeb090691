package httpapi

import (
	"errors"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// What of Medusa's verifications there is here: an address, by a link in a mail.
const (
	entityEmail = "email"
	codeToken   = "token"
)

var (
	errEntityType   = fault.New(fault.Invalid, "entity_type_unknown", "Only the entity_type email can be verified.")
	errCodeProvider = fault.New(fault.NotAllowed, "code_provider_unknown", "The only code_provider is token: a link by mail.")
	errSignInFirst  = fault.New(fault.Unauthorized, "sign_in_to_verify", "Sign in as who asked for the verification, then confirm it.")
)

// verificationAnswer is Medusa's verification, without what its provider keeps: that would be a hash of the code.
type verificationAnswer struct {
	ID             any             `json:"id"`
	EntityID       string          `json:"entity_id"`
	AuthIdentityID auth.IdentityID `json:"auth_identity_id"`
	EntityType     string          `json:"entity_type"`
	CodeProvider   string          `json:"code_provider"`
	VerifiedAt     any             `json:"verified_at"`
	RequestedAt    any             `json:"requested_at"`
}

func showVerification(v auth.Verification) verificationAnswer {
	return verificationAnswer{text(v.ID), v.Email, v.IdentityID, entityEmail, codeToken, stamp(v.VerifiedAt), stamp(v.RequestedAt)}
}

type requestVerification struct {
	EntityID     required[string]         `json:"entity_id"`
	EntityType   required[string]         `json:"entity_type"`
	CodeProvider optional[string]         `json:"code_provider"`
	Metadata     optional[map[string]any] `json:"metadata"`
}

type requestedVerification struct {
	Verification verificationAnswer `json:"verification"`
}

// requestVerification has a link mailed that proves an address of the caller's own. Every other address gets one answer.
func (a *API) requestVerification(c *call, in requestVerification) (created[requestedVerification], error) {
	none := created[requestedVerification]{}
	if in.EntityType.value != entityEmail {
		return none, errEntityType
	}
	if p := in.CodeProvider.or(); p != "" && p != codeToken {
		return none, errCodeProvider
	}
	v, err := a.link.RequestVerification(c.Context(), c.caller.session, auth.VerificationRequest{Email: in.EntityID.value, Metadata: in.Metadata.or()})
	if errors.Is(err, auth.ErrSession) { // it ended on another node a moment ago
		err = errUnauthorized
	}
	return created[requestedVerification]{requestedVerification{showVerification(v)}}, err
}

type confirmVerification struct {
	Code         required[string] `json:"code"`
	CodeProvider optional[string] `json:"code_provider"`
}

type confirmedVerification struct {
	EntityID     string `json:"entity_id"`
	EntityType   string `json:"entity_type"`
	CodeProvider string `json:"code_provider"`
	VerifiedAt   any    `json:"verified_at"`
}

// signedInToVerify is signedIn, and says what to do to who is not: the code proves the mailbox, the session whose address
// it becomes.
func signedInToVerify(a *API, c *call) error {
	err := signedIn(a, c)
	if errors.Is(err, errUnauthorized) {
		err = errSignInFirst
	}
	return err
}

// confirmVerification proves the address that the code was mailed to. What follows from that, the next refresh or sign-in
// shows.
func (a *API) confirmVerification(c *call, in confirmVerification) (confirmedVerification, error) {
	if p := in.CodeProvider.or(); p != "" && p != codeToken {
		return confirmedVerification{}, auth.ErrVerification
	}
	v, err := a.link.ConfirmVerification(c.Context(), c.caller.session, in.Code.value)
	if errors.Is(err, auth.ErrSession) {
		err = errSignInFirst
	}
	return confirmedVerification{v.Email, entityEmail, codeToken, stamp(v.VerifiedAt)}, err
}
