package link

import (
	"errors"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// ErrNoActor is what an Actors answers of who is not there. No caller sees it: what it means depends on who asks.
var ErrNoActor = errors.New("link: there is no such actor")

// What can go wrong, beside the faults of packages auth and user, which pass through.
var (
	ErrActorType   = fault.New(fault.NotAllowed, "unknown_actor_type", "No such actor type.")
	ErrProvider    = fault.New(fault.NotAllowed, "provider_not_allowed", "The actor type is not allowed to use the auth provider.")
	ErrDeactivated = fault.New(fault.Forbidden, "user_deactivated", "This account is deactivated. Ask an administrator.")
	ErrLinked      = fault.New(fault.Invalid, "already_linked", "This sign-in is already linked to another account.")
	ErrNoPassword  = fault.New(fault.Invalid, "no_password", "This user has no password to reset: they sign in by other ways.")
	ErrNoWay       = fault.New(fault.Invalid, "no_sign_in", "This user has no way to sign in, so there is no password to reset. Have them register with the address, sign in, and open the link that proves it: the account is then theirs.")
	ErrEmailInUse  = fault.New(fault.Duplicate, "email_taken", "Somebody else signs in by this address. If that is you, sign in by it; otherwise choose another address, or ask an administrator.")

	// Why an invite cannot be accepted, beside what its token says.
	ErrSignedIn      = fault.New(fault.Invalid, "already_signed_in", "The user is already authenticated and cannot accept an invite.")
	ErrInviteEmail   = fault.New(fault.Invalid, "invite_email", "The invite is for another e-mail address. Leave out email, or send the address that was invited.")
	ErrEmailRequired = fault.New(fault.Invalid, "email_required", "This sign-in has no e-mail address, and a user needs one. Register with an address.")
	ErrEmailTaken    = fault.New(fault.Invalid, "email_taken", "There is an account with this address. Sign in to it and open the invite again. If it is not yours, ask whoever invited you to delete it.")

	// Why a way to sign in cannot be added, and no user is made without one, beside what proving says.
	ErrNoAccount     = fault.New(fault.Forbidden, "account_required", "You have no account yet to add a way to sign in to. Sign in to your account, or open an invite, then do this.")
	ErrPrimaryEmail  = fault.New(fault.Forbidden, "primary_email_unproved", "The e-mail address of your account is not proved yet. Have a link mailed to it, open that while you are signed in, then do this.")
	ErrForeignEmail  = fault.New(fault.Invalid, "address_not_yours", "That this e-mail address is yours is not proved. Use the address of your account, or change that to this one first.")
	ErrCreateRefused = fault.New(fault.NotAllowed, "create_user_refused", "Accounts are not made by this provider. Sign in with it, or open an invite while you are signed in.")
	ErrActorExists   = fault.New(fault.Invalid, "actor_exists", "The user is already registered and cannot create a new account.")
)
