package auth

// What can happen to identities.
type (
	// CredentialsChanged says that a way to sign in was set anew: every session before it has ended.
	CredentialsChanged struct {
		ID       IdentityID `json:"id"`
		Provider string     `json:"provider"`
	}
	// IdentityDeleted says that an identity and all its ways to sign in are gone.
	IdentityDeleted struct {
		ID IdentityID `json:"id"`
	}
)

func (CredentialsChanged) Topic() string { return "auth.credentials_changed" }
func (IdentityDeleted) Topic() string    { return "auth.auth-identity.deleted" }

func (e CredentialsChanged) Aggregate() string { return string(e.ID) }
func (e IdentityDeleted) Aggregate() string    { return string(e.ID) }
