package auth

import "time"

// What can happen to identities.
type (
	// CredentialsChanged says that a way to sign in was set anew: every session before it has ended.
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
	// IdentityDeleted says that an identity and all its ways to sign in are gone.
	IdentityDeleted struct {
		ID IdentityID `json:"id"`
	}
)

func (CredentialsChanged) Topic() string     { return "auth.credentials_changed" }
func (PasswordResetRequested) Topic() string { return "auth.password_reset" }
func (IdentityDeleted) Topic() string        { return "auth.auth-identity.deleted" }

func (e CredentialsChanged) Aggregate() string     { return string(e.ID) }
func (e PasswordResetRequested) Aggregate() string { return e.EntityID }
func (e IdentityDeleted) Aggregate() string        { return string(e.ID) }
