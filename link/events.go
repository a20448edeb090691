package link

import (
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// What can happen to links, and at sign-ins.
type (
	// SignedIn says that somebody was let in.
	SignedIn struct {
		SessionID auth.SessionID  `json:"session_id"`
		Identity  auth.IdentityID `json:"auth_identity_id"`
		ActorType string          `json:"actor_type"`
		ActorID   string          `json:"actor_id"` // empty: as nobody yet
		Provider  string          `json:"provider"`
		NewActor  bool            `json:"new_actor"` // who came to be by this
		Waiting   string          `json:"waiting"`   // why they are nobody, as Waiting.Reason; empty: they are somebody
	}
	// SignedUp says that somebody registered, or did again as what they are already, and was let in as nobody yet.
	SignedUp struct {
		SessionID   auth.SessionID  `json:"session_id"`
		Identity    auth.IdentityID `json:"auth_identity_id"`
		ActorType   string          `json:"actor_type"`
		Provider    string          `json:"provider"`
		NewIdentity bool            `json:"new_identity"`
	}
	// Purged says that an identity which was let in and came to be nobody was deleted, having been of no use for too long.
	Purged struct {
		Identity  auth.IdentityID `json:"auth_identity_id"`
		ActorType string          `json:"actor_type"`
	}
	// Linked says that an identity became an actor: by provisioning, by invite or by the command line.
	Linked struct {
		Identity  auth.IdentityID `json:"auth_identity_id"`
		ActorType string          `json:"actor_type"`
		ActorID   string          `json:"actor_id"`
	}
	// Joined says that another way to sign in was added to an actor, because both sides had proved the address.
	Joined struct {
		Identity  auth.IdentityID `json:"auth_identity_id"`
		ActorType string          `json:"actor_type"`
		ActorID   string          `json:"actor_id"`
		Provider  string          `json:"provider"`
		auth.Notice
	}
	// Reclaimed says that the owner of a mailbox took over an actor whose address nobody had proved. Every way to sign in
	// of before is gone.
	Reclaimed struct {
		Identity  auth.IdentityID `json:"auth_identity_id"`
		ActorType string          `json:"actor_type"`
		ActorID   string          `json:"actor_id"`
		auth.Notice
	}
)

func (SignedIn) Topic() string  { return "auth.sign_in" }
func (SignedUp) Topic() string  { return "auth.sign_up" }
func (Purged) Topic() string    { return "identity.purged" }
func (Linked) Topic() string    { return "link.linked" }
func (Joined) Topic() string    { return "link.joined" }
func (Reclaimed) Topic() string { return "identity.reclaimed" }

func (e SignedIn) Aggregate() string  { return string(e.Identity) }
func (e SignedUp) Aggregate() string  { return string(e.Identity) }
func (e Purged) Aggregate() string    { return string(e.Identity) }
func (e Linked) Aggregate() string    { return e.ActorID }
func (e Joined) Aggregate() string    { return e.ActorID }
func (e Reclaimed) Aggregate() string { return e.ActorID }

// What somebody who is signed in does to the ways by which they sign in.
type (
	// ProviderLinked says that somebody who was signed in has added a way to sign in.
	ProviderLinked struct {
		Identity  auth.IdentityID `json:"auth_identity_id"`
		ActorType string          `json:"actor_type"`
		ActorID   string          `json:"actor_id"`
		Provider  string          `json:"provider"`
		Way       string          `json:"provider_identity_id"`
		auth.Notice
	}
	// ProviderUnlinked says that somebody who was signed in has given up a way to sign in. Every other session of theirs has
	// ended.
	ProviderUnlinked struct {
		Identity  auth.IdentityID `json:"auth_identity_id"`
		ActorType string          `json:"actor_type"`
		ActorID   string          `json:"actor_id"` // empty: nobody's yet
		Provider  string          `json:"provider"`
		Way       string          `json:"provider_identity_id"`
		auth.Notice
	}
)

func (ProviderLinked) Topic() string   { return "link.provider_linked" }
func (ProviderUnlinked) Topic() string { return "link.provider_unlinked" }

// OwnUserDeleted says that somebody who was signed in has deleted the user they were. The address of the notice was theirs until
// then; it follows user.Deleted.
type OwnUserDeleted struct {
	UserID user.ID `json:"user_id"`
	auth.Notice
}

func (OwnUserDeleted) Topic() string       { return "link.own_user_deleted" }
func (e OwnUserDeleted) Aggregate() string { return string(e.UserID) }

func (e ProviderLinked) Aggregate() string   { return string(e.Identity) } // so that what happens to its ways is told in order
func (e ProviderUnlinked) Aggregate() string { return string(e.Identity) }
