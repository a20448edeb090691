// Package console is the pages that people meet: signing in, accepting an invite, becoming the first administrator, their own account,
// users, invites, and what runs behind them. They are plain HTML that works without script, on top of the same services as the API. Like the API it is an
// http.Handler that an application mounts in any router; it knows no driver and no configuration.
//
//	GET   /app          leads to what the visitor may see: the users, or their account
//	*     /app/login    sign in
//	*     /app/register   sign up, where newcomers are taken, and in
//	*     /app/invite   accept an invite: sign up (or in), accept, signed in
//	*     /app/reset-password   ask for a link by mail; with the link's token, set a new password
//	*     /app/email    ask for another address
//	*     /app/email/confirm   with the token of the link that was mailed there, take it
//	*     /app/verify-email   have a link mailed that proves the address; with the link's token, prove it
//	*     /app/magic          sign in by a mailed link or code: the address, the code, and where the link leads
//	*     /app/users      users, and behind it each of them: look, edit, roles, deactivate, delete, restore, sign out
//	*     /app/account    one's own: profile, /password, /sessions, /methods, /delete
//	POST  /app/logout   sign out
//	*     /app/invites  the invites there are; /app/invites/new makes one or many; /app/invites/{id} is one, to send again or revoke
//	GET   /app/audit    the audit trail; /app/audit/{id} is one event
//	*     /app/events   what waits to be delivered, and dead letters; /consumers, /retry, /discard
//	*     /app/webhooks   webhooks: /new, and of each /edit, /test, /rotate, /enable, /disable, /delete
//	GET   /app/health   how the server is
//	GET   /app/dev/mailbox   in development, the mails that were sent
//
//	console.go   Console: paths to handlers, headers, answers
//	login.go     /app, /app/login, /app/logout
//	register.go  /app/register
//	mailbox.go   /app/dev/mailbox
//	invite.go    /app/invite
//	invites.go   /app/invites and one of them
//	inviting.go  /app/invites/new; addresses.go reads the list that was pasted there
//	trail.go     /app/audit
//	reset.go     /app/reset-password
//	email.go     /app/email, /app/email/confirm
//	verify.go    /app/verify-email
//	magic.go     /app/magic
//	users.go     /app/users: the list; why somebody cannot sign in
//	user.go      /app/users/{id}: all about a user, and what is done to them
//	user_edit.go /app/users/{id}/edit
//	events.go    /app/events
//	webhooks.go  /app/webhooks
//	health.go    /app/health
//	visitor.go   who is there by the cookie; the cookie after signing in and out
//	form.go      what a form may send
//	problem.go   faults to statuses, and to what a page says
//	pages/       the templates, the one style sheet and the script; layout.html is around all pages, and texts.html has every word
//	fx.go        Module, Params
package console
