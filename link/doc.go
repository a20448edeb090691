// Package link ties who somebody has proved to be (package auth) to the user they are (package user). On the first
// successful authentication it creates exactly one user, whatever races or crashes; or one actor of a type that the application
// keeps itself.
//
//	SignIn ── prove (slow, no transaction)
//	   └── one transaction:
//	         link row first, ON CONFLICT DO NOTHING   the database decides who is first
//	         admit the proof                          a reset, deletion or deactivation in between wins
//	         the first asks the policy                create · join · wait
//	         the others read the first one's link
//	         session
//	   └── token
//
//	link.go     Service: SignIn, SignUp, Refresh, Actor, CreateUser
//	actor.go    Actor, Actors: users, and the types of actor that an application keeps
//	first.go    the first sign-in: policy, provisioning, joining, reclaiming
//	invite.go   Accept: a user by invite
//	reset.go    a new password
//	email.go    another address: of the user, and to sign in by
//	session.go  the sessions of a user
//	verification.go   a proved address: asked for, confirmed, and required; signing up without telling who is known
//	policy.go   Policy and those that are shipped; Newcomer, Decision, Waiting
//	store.go    all SQL of the package
//	errors.go   what can go wrong      events.go   what can happen      fx.go   Module, Params
//
// Rows are locked in one order everywhere: invite, link, user, identity, session.
package link
