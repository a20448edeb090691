// Package auth proves who a caller is and keeps what proves it: auth identities, provider identities, sessions.
//
// It knows nothing of users: package link ties an identity to one. It works alone: an app with its own user table needs
// only New and the methods of Service.
//
// Everything turns on one rule: prove first, record second.
//
//	Prove / Finish   slow: hashes, networks, outside any transaction  →  Proof
//	Admit            quick: one transaction over the stored rows      →  Identity
//
// A Proof cannot be made outside this package, and carries the state in which it was proved; Admit refuses it if that
// state has moved on, so that a password reset, a deletion or a deactivation in between wins. The names of Medusa's
// auth module are the two in one: Authenticate, Register, ValidateCallback, UpdateProvider.
//
//	provider.go   what a provider is: Provider and its capabilities, Attempt, Assertion
//	auth.go       Service; Prove, Admit and the names of Medusa
//	identity.go   Identity: what is kept of somebody; made, changed and deleted by the app
//	provider_identity.go   ProviderIdentity: one of their ways to sign in, likewise
//	ways.go       ways to sign in that somebody who is signed in adds and gives up
//	filter.go     what a list of either holds, and which page of it
//	flow.go       what lasts between the two steps of a provider that redirects
//	mailed.go     Mailings: a link or a code that is mailed, for providers who prove by that
//	session.go    Session: the authority on whether a token lives
//	session_list.go   the sessions of an identity: listed, and ended one by one or all at once
//	token.go      access tokens (JWT) and the key set others verify them with
//	client.go     Client: where a request comes from
//	throttle.go   how often a secret may be guessed, or anything else done: Limit, Take, Try, Watch
//	device.go     devices that are known to an account, which others' failures do not keep out
//	password.go   Passwords: a bounded pool that hashes and verifies
//	aside.go      the threads it hashes on, which give way to everything else (aside_linux.go, aside_other.go)
//	policy.go     Policy: what may be a password
//	strength.go   Strength: how hard one is to guess
//	breach.go     BreachChecker: whether one is known from a breach
//	legacy.go     hashes of other programs
//	calibrate.go  Calibrate: what hashing costs on a machine
//	pepper.go     what hashes are made under
//	custody.go    Custody: keeps secrets and peppers for as long as something hangs on them, and knows the wrong ones
//	reset.go      a new password by a mailed token, or by the password of now
//	email.go      another address: asked for in a session, confirmed there by a token that was mailed to it
//	verification.go   an address: to be proved by a token that was mailed to it, in a session of who asked
//	registration.go   signing up without a look at who is known, to be completed by the mailbox
//	explain.go    what is kept about an address, for the operator who is asked why somebody cannot get in
//	notice.go     where the owner hears of what is done to their ways to sign in
//	purge.go      deleting what is dead, a little at a time
//	settings.go   the providers' own settings
//	provider_type.go   ProviderType: providers that sections of the settings make, any number of a type
//	store.go      all SQL of the module, but for that of Custody (custody_store.go) and verifications (store_verification.go), and
//	              of what is explained (store_explain.go)
//	errors.go     what can go wrong       events.go   what can happen       fx.go   Module, Params, AsProvider
//
// Providers live in packages of their own (emailpass) and see of this package only what provider.go and password.go
// offer. Package oauth has what those of OAuth 2.0 have in common, and package authtest is the whole test of a provider;
// docs/write-a-provider.md makes one.
package auth
