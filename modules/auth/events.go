package auth

import "time"

// Notice is the part of an event that says where its owner is to hear of it, and from where it was done. It is as it was in
// that moment: an address that the account gets later, maybe from whoever has broken in, does not count.
type Notice struct {
	Email     string `json:"email"` // proved to be the owner's; empty: no address is
	IP        string `json:"ip"`    // of the client; empty: not known, as of the command line
	UserAgent string `json:"user_agent"`
}

// What can happen to identities. Payloads carry ids, what somebody has typed to be found by, and where to tell the owner;
// never what proves somebody.
type (
	// CredentialsChanged says that a way to sign in was set anew, or is by another address from now on: every session
	// before it has ended, except maybe the one in which it was done.
	CredentialsChanged struct {
		ID       IdentityID `json:"id"`
		Provider string     `json:"provider"`
		Moved    bool       `json:"moved,omitempty"` // it is by another address, and nothing else is new; without a Notice
		Kept     SessionID  `json:"kept,omitempty"`  // in which it was done; empty: none goes on
		Notice
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
	// VerificationRequested says that somebody signed in wants to prove that an address is theirs. It holds no token: that is
	// made when it is sent, by CreateVerificationToken.
	VerificationRequested struct {
		ID           string         `json:"id"` // authver_ and a ULID; the token derives from it
		IdentityID   IdentityID     `json:"auth_identity_id"`
		ActorType    string         `json:"actor_type"` // as which they were signed in; empty: from before it was kept
		EntityID     string         `json:"entity_id"`  // the address, canonical
		EntityType   string         `json:"entity_type"`
		CodeProvider string         `json:"code_provider"`
		Metadata     map[string]any `json:"metadata"` // the caller's own
		At           time.Time      `json:"requested_at"`
	}
	// SignInMailRequested says that somebody wants to sign in by what is mailed to an address: a link, or a code. Whose it is was
	// not looked at. It holds neither: that is made when it is sent, by CreateSignInMail.
	SignInMailRequested struct {
		ID           string    `json:"id"`  // signinmail_ and a ULID; what is mailed derives from it
		Key          string    `json:"key"` // the name of the key by which it does
		Provider     string    `json:"provider"`
		ActorType    string    `json:"actor_type"` // as which type of actor; empty: it is not known
		EntityID     string    `json:"entity_id"`  // the address, canonical
		EntityType   string    `json:"entity_type"`
		CodeProvider string    `json:"code_provider"` // token: it is a link; code: it is a code
		IP           string    `json:"ip"`            // of who asked, as the user agent
		UserAgent    string    `json:"user_agent"`
		Adds         bool      `json:"adds"`    // it adds a way to sign in to the account of who asked
		Account      string    `json:"account"` // the address of that account, if it is proved
		At           time.Time `json:"requested_at"`
		ExpiresAt    time.Time `json:"expires_at"`
	}
	// EmailVerified says that an identity has proved by a mailed link that an address is theirs.
	EmailVerified struct {
		ID    IdentityID `json:"id"`
		Email string     `json:"email"`
	}
	// SessionEnded says that one session was ended, such as by who signs out.
	SessionEnded struct {
		ID         SessionID  `json:"id"`
		IdentityID IdentityID `json:"auth_identity_id"`
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
	// SessionsEnded says that sessions of an identity were ended other than by signing out.
	SessionsEnded struct {
		ID        IdentityID `json:"auth_identity_id"`
		ActorType string     `json:"actor_type,omitempty"` // as which they were signed in; empty: as any
		Session   SessionID  `json:"session,omitempty"`    // the one that was ended; empty: all but Kept
		Kept      SessionID  `json:"kept,omitempty"`       // in which it was asked for; empty: none was spared
		Count     int        `json:"count"`
		Reason    string     `json:"reason"` // EndedByOwner, EndedByOperator, EndedByLimit or EndedByChange
	}
	// Throttled says that there have been as many failures as a limit allows, of which this was the last: what would count
	// to it is refused until its window ends. It is told once a window.
	Throttled struct {
		ID         string     `json:"id"`               // throttled_ and a ULID
		Limit      string     `json:"limit"`            // by its name: account_address, account, account_day, address, device, device_day, again, again_day
		IdentityID IdentityID `json:"auth_identity_id"` // whose account it is; empty: nobody's, or the limit is not about one
		Failures   int        `json:"failures"`
		IP         string     `json:"ip"` // of the last failure, as the user agent
		UserAgent  string     `json:"user_agent"`
		Until      time.Time  `json:"until"`
	}
	// SuspiciousSignIn says that somebody signed in of whom the owner should hear: after so many failures that it may have
	// been guessed, or by a device and from an address that were not seen before.
	SuspiciousSignIn struct {
		ID        IdentityID `json:"id"`
		SessionID SessionID  `json:"session_id"`
		Failures  int        `json:"failures"`   // before it, at this account; told if there were five
		NewDevice bool       `json:"new_device"` // somebody is signed in already, and nobody from here
		Email     string     `json:"email"`      // proved to be the owner's; empty: no address is
		IP        string     `json:"ip"`         // as in a Notice
		UserAgent string     `json:"user_agent"`
		At        time.Time  `json:"at"`
	}
	// IdentityDeleted says that an identity and all its ways to sign in are gone.
	IdentityDeleted struct {
		ID IdentityID `json:"id"`
	}
)

// Why sessions have ended.
const (
	EndedByOwner    = "owner"    // in another session of theirs, or this one
	EndedByOperator = "operator" // an administrator, the command line, or the app
	EndedByLimit    = "limit"    // Options.MaxSessions
	EndedByChange   = "change"   // the credentials were set anew or revoked, or the identity has become an actor
)

func (CredentialsChanged) Topic() string      { return "auth.credentials_changed" }
func (PasswordResetRequested) Topic() string  { return "auth.password_reset" }
func (EmailChangeRequested) Topic() string    { return "auth.email_change" }
func (SessionEnded) Topic() string            { return "auth.session.ended" }
func (SessionsEnded) Topic() string           { return "auth.sessions.ended" }
func (VerificationRequested) Topic() string   { return "auth.verification_requested" }
func (SignInMailRequested) Topic() string     { return "auth.sign_in_mail_requested" }
func (EmailVerified) Topic() string           { return "auth.email_verified" }
func (IdentityCreated) Topic() string         { return "auth.auth-identity.created" }
func (IdentityUpdated) Topic() string         { return "auth.auth-identity.updated" }
func (IdentityDeleted) Topic() string         { return "auth.auth-identity.deleted" }
func (Throttled) Topic() string               { return "auth.throttled" }
func (SuspiciousSignIn) Topic() string        { return "auth.suspicious_sign_in" }
func (ProviderIdentityCreated) Topic() string { return "auth.provider-identity.created" }
func (ProviderIdentityUpdated) Topic() string { return "auth.provider-identity.updated" }
func (ProviderIdentityDeleted) Topic() string { return "auth.provider-identity.deleted" }

// All belongs to the identity, so that what happens to it and to its ways to sign in is told in order; but for a request,
// which may be about nobody. It stands for itself: what strangers type must not make anything wait, and of several requests
// the newest wins in whatever order they are handled.

func (e CredentialsChanged) Aggregate() string      { return string(e.ID) }
func (e SessionEnded) Aggregate() string            { return string(e.IdentityID) }
func (e SessionsEnded) Aggregate() string           { return string(e.ID) }
func (e VerificationRequested) Aggregate() string   { return e.ID }
func (e SignInMailRequested) Aggregate() string     { return e.ID }
func (e EmailVerified) Aggregate() string           { return string(e.ID) }
func (e IdentityCreated) Aggregate() string         { return string(e.ID) }
func (e IdentityUpdated) Aggregate() string         { return string(e.ID) }
func (e IdentityDeleted) Aggregate() string         { return string(e.ID) }
func (e SuspiciousSignIn) Aggregate() string        { return string(e.ID) }
func (e Throttled) Aggregate() string               { return e.ID }
func (e ProviderIdentityCreated) Aggregate() string { return string(e.IdentityID) }
func (e ProviderIdentityUpdated) Aggregate() string { return string(e.IdentityID) }
func (e ProviderIdentityDeleted) Aggregate() string { return string(e.IdentityID) }
func (e PasswordResetRequested) Aggregate() string  { return e.ID }
func (e EmailChangeRequested) Aggregate() string    { return e.ID }
