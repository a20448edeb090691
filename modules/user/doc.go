// Package user keeps users and the invites by which they come.
//
// It knows nothing of passwords or providers: who somebody is, is proved elsewhere (package auth), and package link
// ties the two together. It works alone: an app with its own sign-in needs only New.
//
//	user.go     User, Draft, Update; Service with CreateUsers, Ensure, UpdateUsers, DeleteUsers …
//	email.go    another address for a user
//	invite.go   Invite and its life: made, renewed, validated, accepted, withdrawn
//	token.go    invite tokens: derived from the row, never stored
//	filter.go   what lists can be asked           times.go    … of times      search.go    … of words
//	page.go     which part of a list, in which order; cursors
//	bulk.go     BadItems: what is wrong with which of many
//	hook.go     Hook: what the application does in the same transaction
//	admin.go    that an active admin is left
//	store.go    all SQL of the module
//	errors.go   what can go wrong          events.go   what can happen
//	fx.go       Module, Params
//
// The names are those of Medusa's user module. Where that takes one or many, a method here is variadic; it does all
// or nothing in one transaction, and joins the transaction of its context if there is one.
package user
