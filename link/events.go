package link

import (
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// What can happen to links.
type (
	// Linked says that an identity became an actor: by provisioning, by invite or by the command line.
	Linked struct {
		Identity  auth.IdentityID `json:"auth_identity_id"`
		ActorType string          `json:"actor_type"`
		ActorID   user.ID         `json:"actor_id"`
	}
	// Joined says that another way to sign in was added to a user, because both sides had proved the address.
	Joined struct {
		Identity auth.IdentityID `json:"auth_identity_id"`
		UserID   user.ID         `json:"user_id"`
	}
	// Reclaimed says that the owner of a mailbox took over a user whose address nobody had proved. Every way to sign in
	// of before is gone.
	Reclaimed struct {
		Identity auth.IdentityID `json:"auth_identity_id"`
		UserID   user.ID         `json:"user_id"`
	}
)

func (Linked) Topic() string    { return "link.linked" }
func (Joined) Topic() string    { return "link.joined" }
func (Reclaimed) Topic() string { return "identity.reclaimed" }

func (e Linked) Aggregate() string    { return string(e.ActorID) }
func (e Joined) Aggregate() string    { return string(e.UserID) }
func (e Reclaimed) Aggregate() string { return string(e.UserID) }
