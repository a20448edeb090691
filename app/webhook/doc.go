// Package webhook sends events to addresses that somebody has registered, signed as Standard Webhooks are
// (https://www.standardwebhooks.com). It is a consumer of the outbox whose targets are endpoints: rows that come and go while
// servers run.
//
//	CreateEndpoint   a row, its secret, and a target of the outbox, in one transaction
//	an event         is recorded for each endpoint that wants its topic, with the change that it is about
//	publish          reads the endpoint, signs, sends, notes what came of it; an error has the outbox try again
//	410 Gone         disables the endpoint: no target any more, and what waited for it is dropped
//
// Each endpoint has order, attempts and dead letters of its own, and holds up no other. What it is sent is the same at every
// attempt, byte for byte, under the same webhook-id; only the timestamp and so the signature are of the attempt.
//
// A secret is shown when it is made, once. The database keeps it encrypted under every master secret there is, and anew when
// those change, so that any of them can go.
//
//	webhook.go    Service, Options          endpoint.go   what can be done with endpoints
//	send.go       publish, SendTest         log.go        the log of deliveries
//	secret.go     Secret, signatures        vault.go      how secrets are kept
//	topics.go     what can be heard         store.go      all SQL                 errors.go, fx.go
package webhook
