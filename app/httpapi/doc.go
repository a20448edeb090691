// Package httpapi is the JSON API, on Medusa's routes and in Medusa's words, so that @medusajs/js-sdk works against it.
// It is an http.Handler that an application mounts in any router; it knows no driver and no configuration.
//
//	routes.go    every endpoint, one line each: method, path, guard, handler
//	guard.go     who may call what: a route without a guard does not start
//	actor.go     RequireActor: who calls a route of the application's own
//	body.go      request bodies: strict JSON into declared fields
//	query.go     query parameters: an allow-list for each route, pages of lists
//	parameters.go, times.go   what says which rows a list holds
//	problem.go   faults to statuses and Medusa's error bodies
//	object.go    answers: chosen fields in a fixed order
//	auth.go      register, sign in, sessions, refresh, keys
//	sessions.go  /auth/sessions, and those of a user
//	users.go     /admin/users          roles.go   the roles of a user
//	invites.go   /admin/invites
//	explain.go   /admin/explain
//	webhooks.go  /admin/webhooks
//	fx.go        Module, Params
package httpapi
