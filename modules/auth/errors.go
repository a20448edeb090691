package auth

import "github.com/latchkey-go/latchkey/modules/kernel/fault"

// What can go wrong. A provider's errors wrap ErrInvalidCredentials, ErrInput or ErrDeclined when the caller is at fault; every
// other error of a provider is its own failure, which is logged and never shown.
var (
	ErrInvalidCredentials = fault.New(fault.Unauthorized, "invalid_credentials", "The credentials are not valid.")
	ErrInput              = fault.New(fault.Invalid, "invalid_input", "The input is not what this provider reads.")
	ErrIdentityExists     = fault.New(fault.Unauthorized, "identity_exists", "Identity with email already exists")

	// ErrProofOutdated: what the proof was checked against has changed since, by no fault of the caller. Prove again.
	// It is an ErrInvalidCredentials to those who do not.
	ErrProofOutdated = ErrInvalidCredentials.Msg("The credentials changed meanwhile. Try again.")

	ErrNotFound        = fault.New(fault.NotFound, "auth_identity_not_found", "No such auth identity.")
	ErrInvalid         = fault.New(fault.Invalid, "identity_invalid", "An auth identity has a value that cannot be kept.")
	ErrEntityTaken     = fault.New(fault.Duplicate, "entity_taken", "Another auth identity is known to the provider by this entity id.")
	ErrLastWay         = fault.New(fault.NotAllowed, "last_way_in", "The last way to sign in cannot be taken from an auth identity.")
	ErrQuery           = fault.New(fault.Invalid, "query_invalid", "A list cannot be asked for like that.")
	ErrOrder           = fault.New(fault.Invalid, "order_unknown", "The list cannot be ordered by that field.")
	ErrUnknownProvider = fault.New(fault.NotAllowed, "unknown_provider", "No such auth provider.")
	ErrUnsupported     = fault.New(fault.Unauthorized, "provider_unsupported", "The auth provider does not offer that.")
	ErrPassword        = fault.New(fault.Invalid, "password_refused", "The password cannot be used.")
	ErrBreachCheck     = fault.New(fault.Unavailable, "breach_check_unavailable", "Passwords cannot be checked against known data breaches at the moment, and are not accepted unchecked. Try again in a while.")
	ErrBusy            = fault.New(fault.Unavailable, "hashing_busy", "Too many sign-ins at once. Try again in a moment.")
	ErrThrottled       = fault.New(fault.TooMany, "too_many_attempts", "Too many attempts. Wait a while, then try again.")
	ErrSession         = fault.New(fault.Unauthorized, "session_ended", "The session has ended. Sign in again.")
	ErrToken           = fault.New(fault.Unauthorized, "token_invalid", "The token is not valid.")
	ErrResetToken      = fault.New(fault.Unauthorized, "reset_token_invalid", "Invalid token")
	ErrSignInAgain     = fault.New(fault.Forbidden, "sign_in_again", "You signed in a while ago. Sign in again, then do this within five minutes.")
	ErrFlow            = ErrInvalidCredentials.Msg("This sign-in was started elsewhere, has expired or was finished already. Start again.")
	ErrSignInMail      = ErrInvalidCredentials.Msg("This link was used already or has expired. Ask for another one.")
	ErrDeclined        = fault.New(fault.Unauthorized, "sign_in_declined", "The sign-in was not completed at the provider. Start again, or sign in by another way.")

	// Why a token does not confirm a change of address.
	ErrEmailChange          = fault.New(fault.Invalid, "email_change_invalid", "This link was used already, has expired, or is not valid any more. Ask for the change of address again.")
	ErrEmailChangeElsewhere = fault.New(fault.Forbidden, "email_change_elsewhere", "This link belongs to another account. Sign in as who asked for the change of address, then open it again.")

	// Why a token does not prove an address, and none is sent.
	ErrVerification          = fault.New(fault.NotAllowed, "verification_invalid", "Verification code is invalid or already used")
	ErrVerificationElsewhere = fault.New(fault.Forbidden, "verification_elsewhere", "This link belongs to another account. Sign in as who asked for it, then open it again.")
	ErrVerificationAddress   = fault.New(fault.Invalid, "verification_address", "Only an address of your own account can be verified: the one you sign in with, or the account's.")
	ErrRegistered            = fault.New(fault.Invalid, "already_registered", "There is an account with this address already. Sign in to it, or set a new password by mail.")
)

// ErrProviderUnavailable: who the provider depends on does not answer. A provider that returns it along with the reason, as in
// fmt.Errorf("%w: ask the directory: %w", auth.ErrProviderUnavailable, err), has that logged and not shown; otherwise it logs why itself.
var ErrProviderUnavailable = fault.New(fault.Unavailable, "provider_unavailable",
	"This way to sign in does not work at the moment. Sign in another way, or try again in a while.")
