// Package app puts the parts together into a program: configuration, database, modules, the two front ends, the command
// line. Nothing below imports it. cmd/server is one call of Main; an application that wants more providers or hooks calls
// Main with further fx options, or takes Module into an fx application of its own.
//
//	app.go        New, Module: the list of what this program is made of
//	command.go    Main: the command line            bootstrap.go  the first admin
//	config*.go    configuration: keys, sources, checks
//	storage.go    data directory, secrets, database
//	server.go     the HTTP server
//	httpapi/      the JSON API                       console/      the pages under /app
//	web/          what the two have in common
//	imports_test.go   who may import whom, and why
package app
