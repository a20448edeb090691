// Package natssink hands the events of the outbox to NATS JetStream. It is a Go module of its own, so that only who uses it
// has its dependencies:
//
//	go get github.com/latchkey-go/latchkey/app/outbox/natssink
//
// With fx, in an application of one's own and in a server that app.Main runs, it is:
//
//	natssink.Module, fx.Supply(natssink.Options{URL: "nats://127.0.0.1:4222", Stream: natssink.Stream{Make: true}})
//
// An event is a message on the subject PREFIX.TOPIC, such as latchkey.user.created. Its body is the JSON of outbox.Event, its
// header Nats-Msg-Id is the event's id, and its header Latchkey-Aggregate is the id of what it happened to, for who
// spreads the events of one stream over several workers without reading them.
//
//	claim → publish → the stream has it (PubAck) → done      the outbox takes an event for delivered only then
//
// What who reads the stream can rely on:
//
//   - What has been committed is there, at least once, and nothing else is. While NATS is away events wait in the outbox.
//   - Events of one aggregate are in the stream in their order. Those of different aggregates may be in another order than they were
//     committed in.
//   - An event that was stored, and whose acknowledgement was lost, is published again. The stream drops it within its
//     duplicate window, by Nats-Msg-Id. What comes later is there twice, with the same id: who must not do a thing twice
//     remembers the ids. Such a copy may stand after later events of its aggregate only if its first stands before them.
//
// The files:
//
//	sink.go     Sink: Publish, Connect, Close       options.go   Options, Stream, subjects
//	conn.go     the connection, and what is known of it          fx.go   Module
package natssink
