package webhook

import "github.com/latchkey-go/latchkey/modules/kernel/fault"

// What can go wrong.
var (
	ErrNotFound = fault.New(fault.NotFound, "webhook_not_found", "No such webhook.")
	ErrInvalid  = fault.New(fault.Invalid, "webhook_value_invalid", "A webhook has a value that cannot be kept.")
	ErrURL      = fault.New(fault.Invalid, "webhook_url_invalid", "Events cannot be sent to that url.")
	ErrTooMany  = fault.New(fault.Conflict, "webhook_too_many", "There are as many webhooks as may be. Delete one that is not needed.")
	ErrExists   = fault.New(fault.Conflict, "webhook_exists", "There is a webhook of this id already. Its secret was shown when it was made.")
	ErrChanged  = fault.New(fault.Conflict, "webhook_changed", "The webhook has changed meanwhile. Look at it, then ask again.")
	ErrRotating = fault.New(fault.Conflict, "webhook_rotated_too_often",
		"Too many secrets of this webhook sign already. Wait until one has run out, or have the new one count alone, by a rotation with now.")
	ErrNotWaiting = fault.New(fault.NotFound, "webhook_event_not_waiting", "This event does not wait for this webhook: it was delivered, or was never meant for it.")
	ErrCursor     = fault.New(fault.Invalid, "cursor_invalid", "The list has no such place.")
)
