package httpapi_test

import (
	"context"
	"fmt"
	"github.com/latchkey-go/latchkey/app/audit"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// statements are those that reached the database, without what they are about.
type statements struct {
	mu  sync.Mutex
	ran []string
}

var values = regexp.MustCompile(`'(?:[^']|'')*'|\b\d+\b`)

func (s *statements) BeforeQuery(ctx context.Context, e *bun.QueryEvent) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ran = append(s.ran, values.ReplaceAllString(e.Query, "?"))
	return ctx
}

func (*statements) AfterQuery(context.Context, *bun.QueryEvent) {}

func (s *statements) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ran := s.ran
	s.ran = nil
	return ran
}

// watched is a server whose statements are seen.
func watched(t *testing.T, at databasetest.Database, o settings) (*server, *statements) {
	t.Helper()
	opened, ran := at.Open(t, user.Migrations(), auth.Migrations(), link.Migrations(), audit.Migrations()), new(statements)
	read := opened.Conn(t.Context()).NewSelect().DB()
	write := read
	check(t, opened.InTx(t.Context(), func(ctx context.Context) error {
		write = opened.Conn(ctx).NewSelect().DB()
		return nil
	}))
	return serve(t, database.New(write.WithQueryHook(ran), read.WithQueryHook(ran), slog.New(slog.DiscardHandler)), o), ran
}

// trace is all that a caller, or who watches the machine, can tell of one request.
type trace struct {
	answer     answer
	statements []string
	turns      int64 // in the pool that hashes
	mails      int   // that were asked for
}

var different = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+|\b(user|invite|authid|authsess|authver)_[0-9A-HJKMNP-TV-Z]{26}\b|"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"|"(?:iat|exp)":\d{10}`)

// TestNothingTellsWhoIsKnown sends each request about an address that is somebody's, in every state that somebody can be in,
// and about one that is nobody's, and wants answers, headers, statements and turns to be the same.
func TestNothingTellsWhoIsKnown(t *testing.T) {
	// As many letters each, so that lengths are comparable, too.
	known := map[string]func(t *testing.T, s *server){
		"admin1@example.com": func(t *testing.T, s *server) { s.admin(t, "admin1@example.com") },
		"member@example.com": func(t *testing.T, s *server) { s.node(t, settings{}).member(t, "member@example.com") },
		"actorl@example.com": func(t *testing.T, s *server) { s.node(t, settings{}).register(t, "actorl@example.com") },
		"gonegn@example.com": func(t *testing.T, s *server) {
			id := actor(t, s.node(t, settings{}).member(t, "gonegn@example.com"))
			check(t, s.users.DeactivateUsers(t.Context(), user.ID(id)))
		},
		"vouchd@example.com": func(t *testing.T, s *server) { // a user without a password
			s.do(t, "POST", "/auth/user/vouching", `{"name":"v","email":"vouchd@example.com","verified":true}`)
		},
		"invitd@example.com": func(t *testing.T, s *server) {
			_, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "invitd@example.com"})
			check(t, err)
		},
	}
	const unknown, wrongPassword = "nobody@example.com", "another horse"
	const lax, strict, safe, both = "lax", "strict", "safe", "both"
	servers := map[string]settings{
		lax: {}, strict: requires, safe: {safe: true}, both: {safe: true, actor: link.ActorOptions{RequireVerifiedEmail: true}},
	}
	cases := []struct {
		name string
		on   string
		// do sends requests about the address, of which the last is compared.
		do func(t *testing.T, s *server, address string) func() answer
	}{
		{"sign in", lax, func(t *testing.T, s *server, address string) func() answer {
			return func() answer { return s.do(t, "POST", "/auth/user/emailpass", credentials(address, wrongPassword)) }
		}},
		{"sign in, addresses to be proved", strict, func(t *testing.T, s *server, address string) func() answer {
			return func() answer { return s.do(t, "POST", "/auth/user/emailpass", credentials(address, wrongPassword)) }
		}},
		{"ask for a new password", lax, func(t *testing.T, s *server, address string) func() answer {
			return func() answer {
				return s.do(t, "POST", "/auth/user/emailpass/reset-password", fmt.Sprintf(`{"identifier":%q}`, address))
			}
		}},
		{"ask for the proof of it", lax, func(t *testing.T, s *server, address string) func() answer {
			mine := s.signIn(t, "me@example.com")
			return func() answer { return s.askToProve(t, address, bearer(mine)) }
		}},
		{"ask to move to it", lax, func(t *testing.T, s *server, address string) func() answer {
			mine := s.signIn(t, "me@example.com")
			return func() answer { return s.askToMove(t, address, bearer(mine)) }
		}},
		{"register", safe, func(t *testing.T, s *server, address string) func() answer {
			return func() answer {
				return s.do(t, "POST", "/auth/user/emailpass/register", credentials(address, wrongPassword))
			}
		}},
		{"register with the password", safe, func(t *testing.T, s *server, address string) func() answer {
			return func() answer { return s.do(t, "POST", "/auth/user/emailpass/register", credentials(address, password)) }
		}},
		{"register, addresses to be proved", both, func(t *testing.T, s *server, address string) func() answer {
			return func() answer {
				return s.do(t, "POST", "/auth/user/emailpass/register", credentials(address, wrongPassword))
			}
		}},
		{"register a second time", safe, func(t *testing.T, s *server, address string) func() answer {
			s.register(t, address)
			return func() answer {
				return s.do(t, "POST", "/auth/user/emailpass/register", credentials(address, wrongPassword))
			}
		}},
		{"sign in with what was registered", safe, func(t *testing.T, s *server, address string) func() answer {
			s.do(t, "POST", "/auth/user/emailpass/register", credentials(address, wrongPassword))
			return func() answer { return s.do(t, "POST", "/auth/user/emailpass", credentials(address, wrongPassword)) }
		}},
		{"refresh what was registered", safe, registered(func(t *testing.T, s *server, token, _ string) answer {
			return s.do(t, "POST", "/auth/token/refresh", "", bearer(token))
		})},
		{"a session of what was registered", safe, registered(func(t *testing.T, s *server, token, _ string) answer {
			a := s.do(t, "POST", "/auth/session", "", bearer(token))
			a.header.Del("Set-Cookie") // which holds a secret, of the same length for everybody
			return a
		})},
		{"oneself, by what was registered", safe, registered(func(t *testing.T, s *server, token, _ string) answer {
			return s.do(t, "GET", "/admin/users/me", "", bearer(token))
		})},
		{"ask again for the mail of what was registered", safe, registered(func(t *testing.T, s *server, token, address string) answer {
			return s.askToProve(t, address, bearer(token))
		})},
		{"change the password of what was registered", safe, registered(func(t *testing.T, s *server, token, _ string) answer {
			return s.do(t, "POST", "/auth/user/emailpass/update", `{"current_password":"correct horse","password":"battery staple"}`, bearer(token))
		})},
		{"confirm with nonsense", safe, registered(func(t *testing.T, s *server, token, _ string) answer {
			return s.prove(t, "nonsense", bearer(token))
		})},
		{"accept nonsense", safe, registered(func(t *testing.T, s *server, token, _ string) answer {
			return s.do(t, "POST", "/admin/invites/accept?token=nonsense", `{}`, bearer(token))
		})},
		{"accept somebody else's invite", safe, registered(func(t *testing.T, s *server, token, _ string) answer {
			open, err := s.users.ListInvites(t.Context(), user.InviteFilter{Emails: []string{"spare@example.com"}}, user.Page{})
			check(t, err)
			return s.do(t, "POST", "/admin/invites/accept?token="+s.users.InviteToken(open[0], user.ByMail), `{}`, bearer(token))
		})},
		{"a sign-in by others that does not vouch for the address", safe, func(t *testing.T, s *server, address string) func() answer {
			return func() answer {
				a := s.do(t, "POST", "/auth/user/vouching", fmt.Sprintf(`{"name":"stranger %s","email":%q}`, address, address))
				a.header.Del("Set-Cookie") // which makes the device known, of the same length for everybody
				return a
			}
		}},
	}
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		t.Run(name, func(t *testing.T) {
			databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
				s, ran := watched(t, at, servers[name])
				for _, address := range slices.Sorted(maps.Keys(known)) {
					known[address](t, s)
				}
				s.admin(t, "me@example.com")
				_, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "spare@example.com"})
				check(t, err)
				for _, c := range cases {
					if c.on != name {
						continue
					}
					t.Run(c.name, func(t *testing.T) {
						look := func(address string) trace {
							s.forgetCounts(t) // of which one caller has more than a stranger would
							do := c.do(t, s, address)
							ran.take()
							turns, mails := s.passwords.Turns(), s.told.count()
							a := do()
							return trace{a, ran.take(), s.passwords.Turns() - turns, s.told.count() - mails}
						}
						want := look(unknown)
						for _, address := range slices.Sorted(maps.Keys(known)) {
							wantAlike(t, address, look(address), unknown, want)
						}
					})
				}
			})
		})
	}
}

// forgetCounts takes away what throttling has counted.
func (s *server) forgetCounts(t *testing.T) {
	t.Helper()
	check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := s.db.Conn(ctx).NewDelete().TableExpr("latchkey_auth_throttle").Where("TRUE").Exec(ctx)
		return err
	}))
}

// wantAlike wants what was told of two addresses to differ in nothing but these.
func wantAlike(t *testing.T, address string, got trace, other string, want trace) {
	t.Helper()
	plain := func(a answer, address string) string {
		return different.ReplaceAllString(strings.ReplaceAll(a.body, address, "<address>"), "<>")
	}
	if got.answer.status != want.answer.status || plain(got.answer, address) != plain(want.answer, other) {
		t.Errorf("%s: %d %s\n%s: %d %s", address, got.answer.status, got.answer.body, other, want.answer.status, want.answer.body)
	}
	if got, want := lasting(got.answer.header), lasting(want.answer.header); !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%s: headers %v, of %s %v", address, got, other, want)
	}
	if !slices.Equal(got.statements, want.statements) {
		t.Errorf("%s: statements\n%q, of %s\n%q", address, got.statements, other, want.statements)
	}
	if got.turns != want.turns || got.mails != want.mails {
		t.Errorf("%s: %d turns, %d events; of %s %d, %d", address, got.turns, got.mails, other, want.turns, want.mails)
	}
}

// registered compares what somebody can do who has registered with the address.
func registered(do func(t *testing.T, s *server, token, address string) answer) func(t *testing.T, s *server, address string) func() answer {
	return func(t *testing.T, s *server, address string) func() answer {
		t.Helper()
		token := s.token(t, "register", s.do(t, "POST", "/auth/user/emailpass/register", credentials(address, "another horse")))
		return func() answer { return do(t, s, token, address) }
	}
}
