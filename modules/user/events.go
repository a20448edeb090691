package user

// What can happen to users and invites. Payloads carry ids, and an address where the row has another one by then: whoever
// needs more reads the row.
type (
	// Created says that a user was made.
	Created struct {
		ID ID `json:"id"`
	}
	// Updated says that attributes, roles or the proof of the address of a user changed.
	Updated struct {
		ID ID `json:"id"`

		// Roles that the user has got or lost, with a space between two. They are for who hears of it in the transaction, such as the
		// audit trail, and not in the payload: by the time that one is read, the user may have others.
		Given string `json:"-"`
		Taken string `json:"-"`
	}
	// Deleted says that a user was deleted, softly or for good.
	Deleted struct {
		ID ID `json:"id"`
	}
	// Restored says that a softly deleted user is back.
	Restored struct {
		ID ID `json:"id"`
	}
	// Deactivated says that a user may no longer sign in.
	Deactivated struct {
		ID ID `json:"id"`
	}
	// Reactivated says that a user may sign in again.
	Reactivated struct {
		ID ID `json:"id"`
	}
	// EmailChangeRequested says that a user wants another address. Nothing has changed yet.
	EmailChangeRequested struct {
		ID   ID     `json:"id"`
		From string `json:"from"` // empty: none
		To   string `json:"to"`

		Unproved bool `json:"unproved,omitempty"` // From may be somebody else's mailbox: nobody is to be told there
	}
	// EmailChanged says that a user has another address, which is proved to be theirs.
	EmailChanged struct {
		ID   ID     `json:"id"`
		From string `json:"from"` // empty: none
		To   string `json:"to"`

		Unproved bool `json:"unproved,omitempty"` // as before: From was
	}

	// InviteCreated says that an invite was made.
	InviteCreated struct {
		ID InviteID `json:"id"`
	}
	// InviteUpdated says that the roles, metadata, message or time of an invite changed.
	InviteUpdated struct {
		ID InviteID `json:"id"`
	}
	// InviteResent says that an invite has a new token and expiry: it was refreshed, or an expired one was given anew.
	InviteResent struct {
		ID InviteID `json:"id"`
	}
	// InviteAccepted says that somebody became a user by an invite, or that it was closed.
	InviteAccepted struct {
		ID InviteID `json:"id"`
	}
	// InviteDeleted says that an invite was withdrawn, or deleted for good.
	InviteDeleted struct {
		ID InviteID `json:"id"`
	}
	// InviteRestored says that a withdrawn invite is back: what link of it was good is good again.
	InviteRestored struct {
		ID InviteID `json:"id"`
	}
)

// The topics are Medusa's where Medusa has them.

func (Created) Topic() string              { return "user.created" }
func (Updated) Topic() string              { return "user.updated" }
func (Deleted) Topic() string              { return "user.deleted" }
func (Restored) Topic() string             { return "user.restored" }
func (Deactivated) Topic() string          { return "user.deactivated" }
func (Reactivated) Topic() string          { return "user.reactivated" }
func (EmailChangeRequested) Topic() string { return "user.email_change_requested" }
func (EmailChanged) Topic() string         { return "user.email_changed" }
func (InviteCreated) Topic() string        { return "invite.created" }
func (InviteUpdated) Topic() string        { return "invite.updated" }
func (InviteResent) Topic() string         { return "invite.resent" }
func (InviteAccepted) Topic() string       { return "invite.accepted" }
func (InviteDeleted) Topic() string        { return "invite.deleted" }
func (InviteRestored) Topic() string       { return "invite.restored" }

func (e Created) Aggregate() string              { return string(e.ID) }
func (e Updated) Aggregate() string              { return string(e.ID) }
func (e Deleted) Aggregate() string              { return string(e.ID) }
func (e Restored) Aggregate() string             { return string(e.ID) }
func (e Deactivated) Aggregate() string          { return string(e.ID) }
func (e Reactivated) Aggregate() string          { return string(e.ID) }
func (e EmailChangeRequested) Aggregate() string { return string(e.ID) }
func (e EmailChanged) Aggregate() string         { return string(e.ID) }
func (e InviteCreated) Aggregate() string        { return string(e.ID) }
func (e InviteUpdated) Aggregate() string        { return string(e.ID) }
func (e InviteResent) Aggregate() string         { return string(e.ID) }
func (e InviteAccepted) Aggregate() string       { return string(e.ID) }
func (e InviteDeleted) Aggregate() string        { return string(e.ID) }
func (e InviteRestored) Aggregate() string       { return string(e.ID) }
