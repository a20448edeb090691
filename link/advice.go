package link

import (
	"maps"
	"slices"
)

// Advice says what is so, and in one sentence each what the person who cannot get in and the operator can do about it. Where
// it says ADDRESS, the address goes: it is left out because text that is made to be copied into a shell must not hold what
// strangers chose.
type Advice struct {
	What     string
	Person   string
	Operator string
}

// What an Explanation finds beside the reasons of waiting and of errors.
const (
	FoundNothing          = "unknown"
	FoundWay              = "can_sign_in"
	FoundNoWay            = "no_sign_in" // and ErrNoWay
	FoundUnproved         = "address_unproved"
	FoundDeleted          = "user_deleted"
	FoundElsewhere        = "other_account"
	FoundGone             = "link_broken"
	FoundSeveral          = "several_identities"
	FoundNobody           = "nobody_yet"
	FoundRegistering      = "registration_pending"
	FoundInvited          = "invite_pending"
	FoundResetting        = "reset_pending"
	FoundProving          = "verification_pending"
	FoundMoving           = "email_change_pending"
	FoundMailsUsedUp      = "mails_used_up"
	FoundThrottledAtPlace = "throttled_at_a_place"
	FoundPolicyFails      = "policy_failed"
)

// AdviceFor is the advice on a reason: of a waiting sign-in, of an error that somebody met who wanted to get in, or the Code
// of a Finding. ok is false for a reason that is none of ours, such as a policy's own.
func AdviceFor(reason string) (a Advice, ok bool) {
	a, ok = advice[reason]
	return a, ok
}

// Advised are all the reasons and codes that AdviceFor has advice on, sorted: for who puts it into words of their own.
func Advised() []string { return slices.Sorted(maps.Keys(advice)) }

var advice = map[string]Advice{
	FoundNothing: {
		"Nothing is kept about this address; who registered or signed in and became nobody is deleted after a while (link.unlinked_ttl).",
		"Look for another spelling or another address; otherwise register, and what then happens is said under what a sign-in would lead to.",
		"Ask for the address on the account, or make the user by 'server user -e ADDRESS', or an invite by 'server user -e ADDRESS --invite'.",
	},
	FoundWay: {
		"The account is there, active, and has a way to sign in.",
		"Sign in by one of the ways that are listed; for a forgotten password have a link mailed on the sign-in page.",
		"If they still cannot get in, look at the last refusals, and if they have a password send them a link to set a new one: POST /admin/users/{id}/reset-password.",
	},
	FoundNoWay: {
		"The account has no way to sign in, such as one that was made by the API, or restored after it was deleted.",
		"Register with the address, sign in, and open the link that proves the address: the account is then theirs.",
		"Make sure that mails leave, and have them register and prove the address; nothing else connects them to the account.",
	},
	FoundUnproved: {
		"The account's address is not proved, so whoever proves the mailbox takes the account over.",
		"Have a link mailed that proves the address (POST /auth/verification/request) while signed in, or set a new password by mail.",
		"If they have a password, send a link to set a new one, which proves the address: POST /admin/users/{id}/reset-password; or delete the user and make them anew by 'server user -e ADDRESS'.",
	},
	FoundDeleted: {
		"A user who had this address was deleted; what they signed in with went with them.",
		"Ask the operator to restore the account, or register anew.",
		"Restore the user by POST /admin/users/{id}/restore, if nobody else has the address by now; they then register with it and prove it.",
	},
	FoundElsewhere: {
		"A sign-in by this address leads to an account of another address.",
		"Sign in as before: the account is the one that is listed, under its other address.",
		"Nothing is wrong if they changed the address of either; otherwise look who the account is, and take the sign-in away by deleting that user or its auth identity.",
	},
	FoundGone: {
		"A sign-in by this address leads to an account that is gone, and is answered as a wrong password.",
		"Ask the operator to remove what is left of the old account, then register anew.",
		"Restore the user if they were deleted by mistake, or delete the auth identity by auth.Service.DeleteAuthIdentities; this is not made by the API, so find out what deleted the row.",
	},
	FoundSeveral: {
		"More than one identity signs in by this address, each by its own ways.",
		"Sign in by the way that was used at first, then prove the address with the other one: the two become one account.",
		"Tell them which identity is linked to the account; the others join it when both sides have proved the address.",
	},
	FoundNobody: {
		"They have an identity and no account yet; the next sign-in gives them one, unless a hook of the application says no.",
		"Sign in: registering alone makes no account.",
		"Nothing is to be done but to have them sign in; if they did, the last refusals or the log say which hook said no.",
	},
	FoundRegistering: {
		"Somebody registers with this address and has not opened the link that was mailed to it.",
		"Open the link in the mail, while signed in or signing in with the new password; have another one mailed if it is dead.",
		"Make sure that mails leave and that this one is not among the spam.",
	},
	FoundInvited: {
		"An invite for this address can be accepted.",
		"Open the newest link of the invite, and register or sign in there.",
		"Send it again if the mail got lost: POST /admin/invites/{id}/resend, or 'server user -e ADDRESS --invite', which prints a link.",
	},
	FoundResetting: {
		"A link to set a new password is on its way to the mailbox.",
		"Open the newest mail's link within its quarter of an hour.",
		"Have them look into the mailbox, the spam as well, before another one is sent: the newest link is the only good one.",
	},
	FoundProving: {
		"A link that proves the address was asked for and not opened yet.",
		"Open the newest mail's link in the browser that is signed in, or sign in where it opens.",
		"Make sure that mails leave; another link is mailed at the next request, and the one before is dead then.",
	},
	FoundMoving: {
		"A change of address, from or to this one, waits to be confirmed.",
		"Open the link that was mailed to the new address while signed in, or leave it and sign in by the address of now.",
		"Nothing has changed until it is confirmed; it is void when the password is set anew.",
	},
	FoundMailsUsedUp: {
		"So many mails were asked for that no further one is sent for now, although the answer says nothing of it.",
		"Use the newest of the mails that came, or wait until the time that is given.",
		"Look whether the mails reach the mailbox; an administrator's POST /admin/users/{id}/reset-password is not held back by it.",
	},
	FoundThrottledAtPlace: {
		"From one network address, or by one device, too many sign-ins to this account have failed; which one is not kept.",
		"Wait until the time that is given, try from elsewhere, or set a new password by mail, which lifts it.",
		"Have them set a new password, by the link on the sign-in page or POST /admin/users/{id}/reset-password; if it was not them, the audit trail has the addresses.",
	},
	FoundPolicyFails: {
		"The policy fails for this address, so that the sign-in ends with an internal error.",
		"Wait until the operator has mended it.",
		"The log says why, as 'a policy fails'; mend the policy of the actor type.",
	},

	// Why a sign-in waits.
	WaitVerifyEmail.Reason: {
		"An account with this address exists, and that the address is theirs is not proved.",
		"Have a link mailed that proves the address, sign in the way they did before, or set a new password by mail.",
		"Make sure that mails leave; once they open the link, the sign-in is added to the account or takes it over.",
	},
	WaitProof.Reason: {
		"The address is not proved, and has to be before they are let in.",
		"Open the link that was mailed to the address while signed in, or have another one mailed: POST /auth/verification/request.",
		"Make sure that mails leave; without any, delete the user, if there is one, and make them by 'server user -e ADDRESS', which proves the address.",
	},
	WaitEmail.Reason: {
		"The sign-in came without an e-mail address, and an account needs one.",
		"Let the provider pass on the address, sign in by another way, or open an invite.",
		"Have the provider ask for the address, or invite them: 'server user -e ADDRESS --invite'.",
	},
	WaitInvite.Reason: {
		"Accounts are made by invite here, and they have no account and none that they can accept by a proved address.",
		"Ask for an invite, and open its link while signed in.",
		"Invite the address: POST /admin/invites, or 'server user -e ADDRESS --invite', which prints a link.",
	},
	WaitManual.Reason: {
		"The sign-in is connected to no account, and the policy connects none by itself.",
		"Open an invite while signed in, or ask the operator.",
		"Invite the address: POST /admin/invites, or 'server user -e ADDRESS --invite'; or have the application make the account.",
	},

	// Why somebody is refused.
	"user_deactivated": {
		"The account is deactivated: the right password is refused.",
		"Ask an administrator to activate the account again.",
		"If they may come back: POST /admin/users/{id}/reactivate.",
	},
	"invalid_credentials": {
		"Address or password is not right, the address has no way to sign in, or the account behind it is gone.",
		"Mind the spelling of the address, try again, or set a new password by the link on the sign-in page.",
		"Compare with the ways to sign in that are listed; send a link to set a new password by POST /admin/users/{id}/reset-password.",
	},
	"sign_in_declined": {
		"The provider sent the person back without signing them in: they cancelled it there, or it could not.",
		"Start the sign-in again and complete it at the provider, or sign in by another way.",
		"Look in the log for what the provider answered, and there whether the person may use this application.",
	},
	"callback_url_unknown": {
		"The application asks a provider to send people back to an address that is not listed.",
		"Tell whoever runs the application.",
		"Add the address to http.callback_urls, letter for letter, or have the application ask for one that is there.",
	},
	"next_not_local": {
		"The link that begins the sign-in leads on to another site, or to none.",
		"Open the sign-in page itself, and sign in there.",
		"Mend the link: next is a path of this site, such as /app.",
	},
	"identity_exists": {
		"Somebody has registered with this address already.",
		"Sign in instead, and set a new password by mail if it is forgotten.",
		"See what the identity that is listed is linked to; if a stranger registered it, its owner takes it by a link to set a new password.",
	},
	"already_registered": {
		"The registration cannot be completed: somebody signs in by this address.",
		"Sign in to the account there is, or set a new password by mail.",
		"Send them a link to set a new password: POST /admin/users/{id}/reset-password.",
	},
	"too_many_attempts": {
		"There were too many attempts, and for now even the right password is refused.",
		"Wait until the time that is given, sign in by a known device or from elsewhere, or set a new password by mail, which lifts it.",
		"Send them a link to set a new password, by POST /admin/users/{id}/reset-password: used, it takes away the counts of the account.",
	},
	"hashing_busy": {
		"Too many sign-ins were under way at once.",
		"Try again in a moment.",
		"If it lasts, look for a flood of sign-ins in the log, and see auth.password.max_wait.",
	},
	"provider_unavailable": {
		"Who the provider depends on, such as an issuer of OpenID Connect, does not answer, or does not take our client secret.",
		"Sign in another way, or try again in a while.",
		"The log says what is wrong, at 'issuer'; GET /health names the provider until it answers again, which is tried by itself.",
	},
	"breach_check_unavailable": {
		"A new password could not be checked against known breaches, and none is accepted unchecked.",
		"Try again in a while.",
		"See that the server reaches auth.password.breach_url, or set auth.password.breach_check to open.",
	},
	"password_refused": {
		"The new password cannot be used: it is too short, too long, too common, made of names, or from a known breach.",
		"Choose another one; the message says what is wrong with it.",
		"Tell them what auth.password asks for.",
	},
	"password_missing": {
		"No password was sent.",
		"Type the password.",
		"If the form has one, see what the client sends.",
	},
	"current_password_missing": {
		"A new password was to be set while signed in, without the one of now.",
		"Type the current password as well, or set a new one by a mailed link.",
		"Send them a link to set a new password: POST /admin/users/{id}/reset-password.",
	},
	"no_password": {
		"The account has no password that could be reset: they sign in by other ways.",
		"Sign in by one of the ways that are listed.",
		"Tell them by which provider they sign in; there is no password to send a link for.",
	},
	"reset_token_invalid": {
		"The link to set a new password was used, has expired after a quarter of an hour, or a newer one took its place.",
		"Ask for another link, and use the newest mail only.",
		"Send another one: POST /admin/users/{id}/reset-password.",
	},
	"reset_superseded": {
		"Somebody asked for a new password for the user at the same time.",
		"Use the newest mail.",
		"Ask once more: POST /admin/users/{id}/reset-password.",
	},
	"session_ended": {
		"They were signed in, and the session has ended.",
		"Sign in again.",
		"If it was not meant to, the audit trail says who ended it: GET /admin/audit?action[]=auth.sessions.ended.",
	},
	"token_invalid": {
		"The client sent an access token that is not valid.",
		"Sign in again.",
		"If it happens to many, see that all nodes have the same secrets: 'server keys status'.",
	},
	"sign_in_again": {
		"What they want needs a sign-in of the last five minutes.",
		"Sign in again, then do it at once.",
		"Nothing is to be done.",
	},
	"email_taken": {
		"Another account has the address, and the invite or change would need it.",
		"Sign in to the account that has it, and open the link there; otherwise ask the operator.",
		"If that account is nobody's, delete it by DELETE /admin/users/{id}; a link that left by mail takes over an account whose address is not proved.",
	},
	"email_same": {
		"The address that they want is the one they have.",
		"Nothing is to be done.",
		"Nothing is to be done.",
	},
	"email_moved": {
		"The address of the account has changed meanwhile.",
		"Ask for the change of address again.",
		"Nothing is to be done.",
	},
	"email_unproved": {
		"Their roles were granted to an address that they have not proved, so it cannot be changed.",
		"Set a new password by a mailed link, which proves the address, then change it.",
		"Send a link to set a new password: POST /admin/users/{id}/reset-password.",
	},
	"email_change_invalid": {
		"The link that changes the address was used, has expired, or is not valid any more.",
		"Ask for the change of address again.",
		"Nothing is to be done; the address of now still works.",
	},
	"email_change_elsewhere": {
		"The link that changes the address was opened by who is signed in as somebody else.",
		"Sign in as who asked for it, then open it again.",
		"Nothing is to be done.",
	},
	"verification_invalid": {
		"The link that proves the address was used, has expired after a quarter of an hour, or a newer one took its place.",
		"Sign in and have another one mailed, then use the newest.",
		"Make sure that mails leave in time.",
	},
	"verification_elsewhere": {
		"The link that proves the address was opened by who is signed in as somebody else.",
		"Sign in as who asked for it, then open it again.",
		"Nothing is to be done.",
	},
	"verification_address": {
		"They asked to prove an address that is none of their own.",
		"Ask for the address that they sign in or register with.",
		"Compare with the addresses that are listed.",
	},
	"sign_in_to_verify": {
		"The link that proves the address was opened where nobody is signed in.",
		"Sign in as who asked for it, then confirm it.",
		"Nothing is to be done.",
	},
	"id_taken": {
		"The policy of the application has chosen an id for them that another user has, so nobody was made.",
		"Ask the operator, or sign in as the user who has it.",
		"See what chooses the id (link.WithDraft): two people have come to the same, or one person by two ways to sign in that nothing joins.",
	},
	"already_linked": {
		"The sign-in belongs to another account already.",
		"Sign in to that account.",
		"See which account the identity is linked to; a sign-in belongs to one account of a type.",
	},
	"account_required": {
		"They are signed in, and nobody's account yet, so there is none to add a way to sign in to.",
		"Sign in to the account, or open an invite, and add the way then.",
		"See what the policy has them wait for, and invite the address if they are to have an account.",
	},
	"primary_email_unproved": {
		"The address of the account is not proved, and until it is no other way to sign in can be added.",
		"Have a link mailed that proves the address (POST /auth/verification/request), open it while signed in, then add the way.",
		"See that mails leave, or send a link to set a new password, which proves the address: POST /admin/users/{id}/reset-password.",
	},
	"address_not_yours": {
		"A password can be added to an account by the account's own address alone.",
		"Use the address of the account, or change that to this one first.",
		"Nothing is to be done.",
	},
	"create_user_refused": {
		"Accounts are not made by that provider's word.",
		"Sign in with the provider, which makes an account if the policy lets it, or open an invite while signed in.",
		"Add the provider to link.actors.user.create_users_by if its word on addresses is good enough.",
	},
	"actor_exists": {
		"They are a user already.",
		"Refresh the token, or sign in again, and go on as who they are.",
		"Nothing is to be done.",
	},
	"domain_not_allowed": {
		"Accounts are for addresses of the domains in link.actors.user.allowed_domains, and this is of another.",
		"Sign in by an address of such a domain, or ask for an invite and open its link while signed in.",
		"Invite the address ('server user -e ADDRESS --invite'), or add its domain to link.actors.user.allowed_domains.",
	},
	"already_signed_in": {
		"They are signed in as a user, and the invite is to another address.",
		"Sign out, then open the invite and register or sign in with the address that was invited.",
		"Or invite the address that they have.",
	},
	"invite_email": {
		"The invite is for another address than the one they came with.",
		"Register or sign in with the address that was invited.",
		"Or invite the address that they have: 'server user -e ADDRESS --invite'.",
	},
	"invite_invalid": {
		"The link is no invite's, such as one that was cut off by a mail program.",
		"Copy the whole link, or ask for a new one.",
		"Send it again: POST /admin/invites/{id}/resend.",
	},
	"invite_expired": {
		"The invite has expired.",
		"Ask for a new one.",
		"Send it again: POST /admin/invites/{id}/resend, or 'server user -e ADDRESS --invite'.",
	},
	"invite_used": {
		"The invite was accepted.",
		"Sign in, as who has accepted it.",
		"See who accepted it, and whether that was the right person.",
	},
	"invite_renewed": {
		"The link is that of before the invite was sent again.",
		"Use the newest mail's link.",
		"Send it again if that mail got lost: POST /admin/invites/{id}/resend.",
	},
	"invite_revoked": {
		"The invite was withdrawn.",
		"Ask for a new one.",
		"If that was a mistake, invite the address again: POST /admin/invites.",
	},
	"setup_done": {
		"The set-up link is dead, because there is an administrator.",
		"Ask an administrator for an invite.",
		"Make another administrator by 'server user -e ADDRESS'.",
	},
	"user_exists": {
		"A user has proved the address, so it cannot be invited.",
		"Sign in to the account, or set a new password by mail.",
		"Send a link to set a new password by POST /admin/users/{id}/reset-password, and give the roles by POST /admin/users/{id}/roles.",
	},
	"invite_exists": {
		"An invite for the address is open already.",
		"Use the newest link of the invite.",
		"Send it again: POST /admin/invites/{id}/resend.",
	},
	"provider_not_allowed": {
		"The provider is not there any more, or the actor type may not use it.",
		"Sign in by another way, or ask the operator.",
		"List it in link.actors.<type>.providers, or have the program bring the provider.",
	},
	"unknown_actor_type": {
		"The client asks for an actor type that there is not.",
		"Use the application's own sign-in page.",
		"Mend the client's URL: /auth/{actor}/{provider}.",
	},
	"provider_unsupported": {
		"The provider does not offer what was asked of it, such as registering or a reset.",
		"Sign in at the provider itself.",
		"Mend the client: GET /auth/{actor}/providers says what there is.",
	},
	"invalid_input": {
		"The client sent what the provider cannot read.",
		"Use the application's own sign-in page.",
		"See what the client sends.",
	},
	"invalid_email": {
		"What was typed is no e-mail address in the accepted form.",
		"Mind the spelling: ASCII, no spaces or quotes, an international domain in its xn-- form.",
		"Give them an address of that form.",
	},
	"user_invalid": {
		"A name that was sent cannot be kept.",
		"Leave it out, or shorten it.",
		"See what the client sends.",
	},
	"cross_origin": {
		"The request came from another site's page.",
		"Use the application's own page.",
		"List the origin in http.cors_origins, if it is yours.",
	},
	"database_unavailable": {
		"The database did not answer.",
		"Try again in a moment.",
		"See GET /health and the database.",
	},
	"forbidden": {
		"They are signed in, and their roles give no permission.",
		"Ask an administrator for a role.",
		"Give a role: POST /admin/users/{id}/roles.",
	},
	"insufficient_permissions": {
		"They are signed in, and their roles do not give the permission of what they tried.",
		"Ask an administrator for a role.",
		"Give a role: POST /admin/users/{id}/roles.",
	},
}
