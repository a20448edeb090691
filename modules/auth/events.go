package auth

import "time"

// What can happen to identities. Payloads carry ids, and what somebody has typed to be found by; never what proves somebody.
type (
	// CredentialsChanged says that a way to sign in was set anew, or is by another address from now on: every session
	// before it has ended, except maybe the one in which it was done.
	CredentialsChanged struct {
		ID       IdentityID `json:"id"`
		Provider string     `json:"provider"`
	}
	// PasswordResetRequested says that somebody asked for a new password for an entity, which may not exist: whoever
	// handles it looks up by CreatePasswordResetToken. It holds no token: that is made when it is sent.
	PasswordResetRequested struct {
		ID        string         `json:"id"` // reset_ and a ULID; the token derives from it
		Provider  string         `json:"provider"`
		EntityID  string         `json:"entity_id"` // as it was typed
		ActorType string         `json:"actor_type"`
		Metadata  map[string]any `json:"metadata"` // the caller's own
		At        time.Time      `json:"requested_at"`
	}
	// EmailChangeRequested says that somebody signed in wants to be known by another address. It holds no token: that is
	// made when it is sent, by CreateEmailChangeToken.
	EmailChangeRequested struct {
		ID         string     `json:"id"` // emailchange_ and a ULID; the token derives from it
		IdentityID IdentityID `json:"auth_identity_id"`
		Email      string     `json:"email"` // the new one, canonical
		At         time.Time  `json:"requested_at"`
	}
	// SessionEnded says that one session was ended, such as by who signs out.
	SessionEnded struct {
		ID         SessionID  `json:"id"`
		IdentityID IdentityID `json:"auth_identity_id"`
	}
	// SessionsEnded says that sessions of an identity were ended together: by who ends them all, when its credentials were
	// set anew or revoked, or when it became an actor.
	SessionsEnded struct {
		IdentityID IdentityID `json:"auth_identity_id"`
		ActorType  string     `json:"actor_type"` // empty: of every type
		Count      int        `json:"count"`
	}
	// IdentityCreated says that an identity was made: by a first sign-in, a registration, or the app.
	IdentityCreated struct {
		ID IdentityID `json:"id"`
	}
	// IdentityUpdated says that the app changed the app metadata of an identity.
	IdentityUpdated struct {
		ID IdentityID `json:"id"`
	}
	// ProviderIdentityCreated says that an identity, which may itself be new, has got a way to sign in.
	ProviderIdentityCreated struct {
		ID         string     `json:"id"`
		IdentityID IdentityID `json:"auth_identity_id"`
	}
	// ProviderIdentityUpdated says that the app changed the metadata of a way to sign in. What a provider tells anew at a
	// sign-in is not announced.
	ProviderIdentityUpdated struct {
		ID         string     `json:"id"`
		IdentityID IdentityID `json:"auth_identity_id"`
	}
	// ProviderIdentityDeleted says that a way to sign in was unlinked from an identity that has others: every session
	// before it has ended.
	ProviderIdentityDeleted struct {
		ID         string     `json:"id"`
		IdentityID IdentityID `json:"auth_identity_id"`
	}
	// IdentityDeleted says that an identity and all its ways to sign in are gone.
	IdentityDeleted struct {
		ID IdentityID `json:"id"`
	}
)

func (CredentialsChanged) Topic() string      { return "auth.credentials_changed" }
func (PasswordResetRequested) Topic() string  { return "auth.password_reset" }
func (EmailChangeRequested) Topic() string    { return "auth.email_change" }
func (SessionEnded) Topic() string            { return "auth.session.ended" }
func (SessionsEnded) Topic() string           { return "auth.sessions.ended" }
func (IdentityCreated) Topic() string         { return "auth.auth-identity.created" }
func (IdentityUpdated) Topic() string         { return "auth.auth-identity.updated" }
func (IdentityDeleted) Topic() string         { return "auth.auth-identity.deleted" }
func (ProviderIdentityCreated) Topic() string { return "auth.provider-identity.created" }
func (ProviderIdentityUpdated) Topic() string { return "auth.provider-identity.updated" }
func (ProviderIdentityDeleted) Topic() string { return "auth.provider-identity.deleted" }

// All belongs to the identity, so that what happens to it and to its ways to sign in is told in order; but for a request,
// which may be about nobody. It stands for itself: what strangers type must not make anything wait, and of several requests
// the newest wins in whatever order they are handled.

func (e CredentialsChanged) Aggregate() string      { return string(e.ID) }
func (e SessionEnded) Aggregate() string            { return string(e.IdentityID) }
func (e SessionsEnded) Aggregate() string           { return string(e.IdentityID) }
func (e IdentityCreated) Aggregate() string         { return string(e.ID) }
func (e IdentityUpdated) Aggregate() string         { return string(e.ID) }
func (e IdentityDeleted) Aggregate() string         { return string(e.ID) }
func (e ProviderIdentityCreated) Aggregate() string { return string(e.IdentityID) }
func (e ProviderIdentityUpdated) Aggregate() string { return string(e.IdentityID) }
func (e ProviderIdentityDeleted) Aggregate() string { return string(e.IdentityID) }
func (e PasswordResetRequested) Aggregate() string  { return e.ID }
func (e EmailChangeRequested) Aggregate() string    { return e.ID }
