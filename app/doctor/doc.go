// Package doctor looks whether a database of ours is as it must be, while servers work with it.
//
// What must always hold is the list [Invariants] (invariants.go): each a name, what it means, what to do where it does not
// hold, and the query that finds what breaks it. Constraints of the schema keep most of them; the queries are the look
// whether they did, and find what no constraint can know, such as a user whom nobody was told of.
//
// [Examine] asks all of them of one snapshot, so that what a server is in the middle of never shows, and writes nothing.
// The command is "server doctor"; the tests that kill servers ask the same list.
//
// A new invariant is a row in invariants.go, and one in app/doctor_test.go that breaks it by hand.
package doctor
