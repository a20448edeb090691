package user

import "github.com/latchkey-go/latchkey/modules/kernel/fault"

// What can go wrong. Compare with errors.Is: messages may name what was asked for.
var (
	ErrNotFound   = fault.New(fault.NotFound, "user_not_found", "No such user.")
	ErrEmailTaken = fault.New(fault.Duplicate, "email_taken", "Another user has this e-mail address.")
	ErrIDTaken    = fault.New(fault.Duplicate, "id_taken", "Another user has this id.")
	ErrInvalid    = fault.New(fault.Invalid, "user_invalid", "A user or invite has a value that cannot be kept.")
	ErrSameEmail  = fault.New(fault.Invalid, "email_same", "This is your e-mail address already.")
	ErrUnproved   = fault.New(fault.Invalid, "email_unproved", "Your roles were given to your e-mail address, and that it is yours is not proved. Have a link to set a new password mailed to it, use that, then change the address.")
	ErrEmailMoved = fault.New(fault.Conflict, "email_moved", "Your e-mail address has changed meanwhile. Ask for the change of address again.")
	ErrLastAdmin  = fault.New(fault.NotAllowed, "last_admin", "This is the last administrator. Make somebody else one first.")
	ErrQuery      = fault.New(fault.Invalid, "query_invalid", "A list cannot be asked for like that.")
	ErrCursor     = fault.New(fault.Invalid, "cursor_invalid", "The list has no such place in this order.")
	ErrOrder      = fault.New(fault.Invalid, "order_unknown", "The list cannot be ordered by that field.")

	ErrInviteNotFound = fault.New(fault.NotFound, "invite_not_found", "No such invite.")
	ErrInviteExists   = fault.New(fault.Invalid, "invite_exists", "An invite for this address is already open.")
	ErrInvitesFull    = fault.New(fault.NotAllowed, "invites_full", "There are as many open invites as there may be.")
	ErrUserExists     = fault.New(fault.Invalid, "user_exists", "A user with this proved address already exists.")

	// Why a token does not open an invite.
	ErrInviteToken   = fault.New(fault.Invalid, "invite_invalid", "This invite link is not valid. Ask for a new one.")
	ErrInviteExpired = fault.New(fault.Invalid, "invite_expired", "This invite has expired. Ask for a new one.")
	ErrInviteUsed    = fault.New(fault.Invalid, "invite_used", "This invite was accepted already. Sign in instead.")
	ErrInviteRenewed = fault.New(fault.Invalid, "invite_renewed", "This invite was renewed. Use the newest link.")
	ErrInviteRevoked = fault.New(fault.Invalid, "invite_revoked", "This invite was withdrawn. Ask for a new one.")
	ErrSetupDone     = fault.New(fault.Invalid, "setup_done", "There is an administrator already. Ask them for an invite.")
)
