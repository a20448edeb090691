// Package console is the pages that people meet: signing in and all that goes with it, one's own account, and for who may see them users,
// invites, the audit trail, events, webhooks and health. They are plain HTML; a little script makes some of it nicer, and nothing depends on
// it. Like the API it is an http.Handler that an application mounts in any router; it knows no driver and no configuration. docs/console.md
// says how it is made one's own. Paths are behind Options.Path, /app by default.
//
// For everybody, on the services themselves:
//
//	/login, /logout, /register            login.go, register.go
//	/reset-password                       reset.go
//	/invite                               invite.go: accept an invite, or become the first administrator
//	/verify-email                         verify.go: prove an address
//	/email, /email/confirm                email.go: ask for another address, and take it
//	/magic                                magic.go: sign in by a mailed link or code
//	/dev/mailbox                          mailbox.go: in development, the mails that were sent
//
// For who has an account, by the JSON API, asked as the visitor (inside.go):
//
//	/account, …/delete, …/methods, …/password, …/sessions   account.go, account_*.go; device.go names browsers
//	/users, /users/explain, /users/{id}   users.go, user.go, user_edit.go
//	/invites, /invites/new                invites.go, inviting.go; addresses.go reads a pasted list
//	/audit                                trail.go
//	/events, /webhooks, /health           events.go, webhooks.go, health.go
//
// What they are made of:
//
//	console.go   Console: the routes, and what every answer has
//	inside.go    who may come in, the API as the visitor asks it, the menu
//	options.go   Options: where the pages are, name, logo, templates
//	view.go      the templates, and what a page shows; text.go: texts whose key is computed
//	form.go      what a form sends; kept.go: what is kept of it for who is signed in no more; flash.go: what the next page says once; times.go: times in words
//	problem.go   faults to statuses, and to what a page says
//	visitor.go   who is there by the cookie; the cookie after signing in and out
//	audit.go     who acts, for the audit trail
//	pages/       the templates, the style sheet and the script; layout.html is around all pages, texts.html has every word
//	fx.go        Module, Params
package console
