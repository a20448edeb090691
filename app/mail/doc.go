// Package mail writes to people: an invite to join, a link to set a new password, links to confirm an address, and
// notices to the address that is given up.
//
// Mails are consumers of events, so that one is sent if and only if what it is about was committed, and is tried again
// until it has left:
//
//	user.InviteCreated, user.InviteResent  →  invite.txt, invite.html
//	auth.PasswordResetRequested            →  reset.txt, reset.html
//	auth.EmailChangeRequested              →  move.txt, move.html, to the new address
//	auth.VerificationRequested             →  verify.txt, verify.html; known.txt, known.html to who is known already
//	auth.SignInMailRequested               →  magiclink.txt, magiclink.html, or magiccode.txt, magiccode.html
//	user.EmailChangeRequested              →  moving.txt, moving.html, to the old one
//	user.EmailChanged                      →  moved.txt, moved.html, to the old one
//
//	auth.CredentialsChanged                →  password.txt, password.html, if it is no change of address
//	auth.SuspiciousSignIn                  →  signin.txt, signin.html
//	link.Reclaimed                         →  reclaimed.txt, reclaimed.html
//	link.Joined, link.ProviderLinked       →  linked.txt, linked.html
//	link.ProviderUnlinked                  →  unlinked.txt, unlinked.html
//	link.OwnUserDeleted                    →  deleted.txt, deleted.html
//
// These last go to the address that was the owner's when it happened, which the event says.
//
// The link in a mail is made when the mail is sent and is nowhere at rest; sending once more gives the same link. Who uses
// it has proved to read the mailbox, so a mail goes to that address alone.
//
//	mailer.go   Mailer: what is written to whom    templates/   the words; template.go   reads, tries and fills them in
//	agent.go    what browsers are, in words
//	sender.go   Sender: Log and File, which take mails; box.go   Box, which keeps some to be looked at    fx.go   Module    lock_*.go   one process at a time
//	smtp.go     SMTP, a Sender too: what a mail looks like on its way, and what is said to the server
package mail
