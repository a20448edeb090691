package user_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/latchkey-go/latchkey/modules/user"
)

// One random sequence of calls runs on each database and on a model: maps in memory that know the rules and no SQL. After
// each call they must have answered the same, and have announced the same; in the end they must hold the same. Ids are
// numbers here, in the order of making.

// steps is how long the sequence is.
const steps = 500

// The service, with numbers for ids.

type numberedService struct {
	t       *testing.T
	bench   bench
	hasty   *user.Service
	ids     []user.ID
	invites []user.InviteID
	numbers map[string]int
	tokens  map[int][]string
}

func (s *numberedService) id(n int) user.ID {
	if n < 1 || n > len(s.ids) {
		return nobodysID
	}
	return s.ids[n-1]
}

func (s *numberedService) inviteID(n int) user.InviteID {
	if n < 1 || n > len(s.invites) {
		return noInvite
	}
	return s.invites[n-1]
}

func numbersOf[T any](of []int, id func(int) T) []T {
	out := make([]T, len(of))
	for i, n := range of {
		out[i] = id(n)
	}
	return out
}

func (s *numberedService) user(u user.User) string {
	if s.numbers[string(u.ID)] == 0 {
		s.ids = append(s.ids, u.ID)
		s.numbers[string(u.ID)] = len(s.ids)
	}
	as := mUser{n: s.numbers[string(u.ID)], email: u.Email, proved: u.EmailVerified(), inactive: !u.DeactivatedAt.IsZero(), deleted: !u.DeletedAt.IsZero(),
		first: u.FirstName, metadata: u.Metadata, via: u.CreatedVia, roles: map[string]string{}}
	for _, r := range u.Roles {
		as.roles[r] = "?"
	}
	return as.String()
}

func (s *numberedService) told(i user.Invite) string {
	n := s.numbers[string(i.ID)]
	if n == 0 {
		s.invites = append(s.invites, i.ID)
		n = len(s.invites)
		s.numbers[string(i.ID)] = n
	}
	as := mInvite{n: n, email: i.Email, accepted: i.Accepted, deleted: !i.DeletedAt.IsZero(), by: s.numbers[string(i.AcceptedBy)], roles: i.Roles, metadata: i.Metadata}
	if token := s.bench.InviteToken(i, user.ByHand); !slices.Contains(s.tokens[n], token) {
		s.tokens[n] = append(s.tokens[n], token)
	}
	return as.String()
}

func mapped[T any](of []T, f func(T) string) (out []string) {
	for _, x := range of {
		out = append(out, f(x))
	}
	return out
}

func (s *numberedService) create(ds []user.Draft) ([]string, error) {
	users, err := s.bench.CreateUsers(s.t.Context(), ds...)
	return mapped(users, s.user), err
}

func (s *numberedService) ensure(d user.Draft) (string, error) {
	u, _, err := s.bench.Ensure(s.t.Context(), d)
	if err != nil {
		return "", err
	}
	return s.user(u), nil
}

func (s *numberedService) update(of []int, to []edit) ([]string, error) {
	var ups []user.Update
	for i, n := range of {
		ups = append(ups, to[i].user(s.id(n)))
	}
	users, err := s.bench.UpdateUsers(s.t.Context(), ups...)
	return mapped(users, s.user), err
}

func (s *numberedService) change(act string, of []int) error {
	return map[string]onUsers{"delete": s.bench.DeleteUsers, "soft-delete": s.bench.SoftDeleteUsers, "restore": s.bench.RestoreUsers,
		"deactivate": s.bench.DeactivateUsers, "reactivate": s.bench.ReactivateUsers}[act](s.t.Context(), numbersOf(of, s.id)...)
}

func (s *numberedService) roles(act, via string, of int, roles []string) error {
	if act == "remove" {
		return s.bench.RemoveRoles(s.t.Context(), s.id(of), roles...)
	}
	return s.bench.Grant(s.t.Context(), s.id(of), via, roles...)
}

func (s *numberedService) verify(of int, email string) error {
	return s.bench.VerifyEmail(s.t.Context(), s.id(of), email)
}

func (s *numberedService) confirm(of int) (bool, error) {
	u, err := s.bench.RetrieveUser(s.t.Context(), s.id(of))
	if err != nil {
		return false, err
	}
	return s.bench.ConfirmOwner(s.t.Context(), u)
}

func (s *numberedService) list(f user.Filter, p user.Page) ([]string, int, error) {
	users, n, err := s.bench.ListAndCountUsers(s.t.Context(), f, p)
	return mapped(users, s.user), n, err
}

func (s *numberedService) service(hasty bool) *user.Service {
	if hasty {
		return s.hasty
	}
	return s.bench.Service
}

func (s *numberedService) invite(hasty bool, ds []user.InviteDraft) ([]string, error) {
	invites, err := s.service(hasty).CreateInvites(s.t.Context(), ds...)
	return mapped(invites, s.told), err
}

func (s *numberedService) updateInvites(of []int, to []edit) ([]string, error) {
	var ups []user.InviteUpdate
	for i, n := range of {
		ups = append(ups, to[i].invite(s.inviteID(n)))
	}
	invites, err := s.bench.UpdateInvites(s.t.Context(), ups...)
	return mapped(invites, s.told), err
}

func (s *numberedService) refresh(hasty bool, of []int) ([]string, error) {
	invites, err := s.service(hasty).RefreshInviteTokens(s.t.Context(), numbersOf(of, s.inviteID)...)
	return mapped(invites, s.told), err
}

func (s *numberedService) changeInvites(act string, of []int) error {
	return map[string]func(context.Context, ...user.InviteID) error{"delete": s.bench.DeleteInvites, "soft-delete": s.bench.SoftDeleteInvites,
		"restore": s.bench.RestoreInvites}[act](s.t.Context(), numbersOf(of, s.inviteID)...)
}

func (s *numberedService) accept(of, token, by int) error {
	if of < 1 || of > len(s.invites) || token > len(s.tokens[of]) {
		return user.ErrInviteRevoked
	}
	i, err := s.bench.ValidateInviteToken(s.t.Context(), s.tokens[of][token-1])
	if err != nil {
		return err
	}
	return s.bench.AcceptInvite(s.t.Context(), i, s.id(by))
}

func (s *numberedService) listInvites(f user.InviteFilter) ([]string, int, error) {
	invites, n, err := s.bench.ListAndCountInvites(s.t.Context(), f, user.Page{Limit: 1000})
	out := mapped(invites, s.told)
	slices.Sort(out)
	return out, n, err
}

func (s *numberedService) adminExists() (bool, error) { return s.bench.AdminExists(s.t.Context()) }

func (s *numberedService) events() (said []string) {
	for _, line := range s.bench.said.take() {
		topic, id, _ := strings.Cut(line, " ")
		said = append(said, fmt.Sprint(topic, " ", s.numbers[id]))
	}
	slices.Sort(said)
	return said
}

// What is called.

var (
	sequenceEmails = []string{"u0@example.com", "u1@example.com", "U1@Example.com", "u2@example.com", "u3@example.com", "u4@example.com", "u5@example.com"}
	sequenceNames  = []*string{nil, new("Ada"), new("Bob"), new("")}
	sequenceRoles  = []string{"admin", "member", "writer"}
)

// one is a number that somebody has or had, the newest more likely, or now and then nobody.
func (c chance) one(made int) int {
	if c.of(15) {
		return made + 1
	}
	return max(1, made-c.IntN(min(12, made+1)))
}

// size is how many items a call has. Of more than one, more go wrong.
func (c chance) size() int { return pick(c, 1, 1, 1, 2, 3) }

func (c chance) few(made int) []int {
	of := make([]int, c.size())
	for i := range of {
		of[i] = c.one(made)
	}
	return of
}

func (c chance) someRoles() []string {
	if c.of(20) {
		return []string{"writer", ""}
	}
	return some(c, sequenceRoles)
}

func (c chance) metadata() metadata {
	return pick(c, nil, nil, metadata{}, metadata{"a": "x"}, metadata{"a": "", "b": true}, metadata{"b": nil, "c": metadata{"d": 1}})
}

func (c chance) draft() user.Draft {
	d := user.Draft{Email: pick(c, sequenceEmails...), EmailVerified: c.of(3), FirstName: pick(c, sequenceNames...), Metadata: c.metadata(),
		Roles: c.someRoles(), Via: pick(c, "", user.ViaFirstAuth, user.ViaSetup, user.ViaCLI)}
	switch {
	case c.of(10):
		d.Email = ""
	case c.of(25):
		d.Email = "nonsense"
	}
	return d
}

func (c chance) edits(n int) []edit {
	to := make([]edit, n)
	for i := range to {
		to[i] = edit{first: pick(c, sequenceNames...), unnamed: c.of(4), metadata: c.metadata(), noMetadata: c.of(6)}
		if c.of(20) {
			to[i].first = new("N\x00UL")
		}
		if c.of(2) {
			to[i].accepted = new(!c.of(4))
		}
		if c.of(2) {
			to[i].roles = append([]string{}, some(c, sequenceRoles)...)
		}
	}
	return to
}

// step draws the next call, as one that each side can answer.
func (c chance) step(m *model) (call string, do func(people) string) {
	lines := func(answers []string, err error) string {
		return strings.Join(append(answers, reasons(err, true)), "\n")
	}
	switch c.IntN(17) {
	case 0, 1:
		ds := make([]user.Draft, c.size())
		for i := range ds {
			ds[i] = c.draft()
		}
		return fmt.Sprintf("create %+v", ds), func(p people) string { return lines(p.create(ds)) }
	case 2:
		d := c.draft()
		return fmt.Sprintf("ensure %+v", d), func(p people) string {
			answer, err := p.ensure(d)
			return answer + "\n" + reasons(err, true)
		}
	case 3:
		of := c.few(m.nUser)
		to := c.edits(len(of))
		return fmt.Sprintf("update %v %+v", of, to), func(p people) string { return lines(p.update(of, to)) }
	case 4, 5, 6:
		act, of := pick(c, "delete", "soft-delete", "restore", "deactivate", "reactivate"), c.few(m.nUser)
		return fmt.Sprint(act, of), func(p people) string { return reasons(p.change(act, of), false) }
	case 7, 8:
		act, via, of, roles := pick(c, "grant", "remove"), pick(c, user.ViaAPI, user.ViaSetup), c.one(m.nUser), c.someRoles()
		return fmt.Sprintf("%s by %s to %d %q", act, via, of, roles), func(p people) string { return reasons(p.roles(act, via, of, roles), true) }
	case 9:
		of, email := c.one(m.nUser), pick(c, sequenceEmails...)
		return fmt.Sprint("verify ", of, email), func(p people) string { return reasons(p.verify(of, email), true) }
	case 10:
		of := c.one(m.nUser)
		return fmt.Sprint("confirm ", of), func(p people) string {
			ok, err := p.confirm(of)
			return fmt.Sprint(ok, "\n", reasons(err, true))
		}
	case 11:
		f, page, sorted := user.Filter{Q: "example"}, user.Page{Order: "email", Limit: 1 + c.IntN(3), Offset: c.IntN(3)}, false
		if c.of(2) { // those without an address, and the deleted, have no order that ids would not decide
			f, page, sorted = user.Filter{Q: pick(c, "", "ada", "u1 EXAMPLE"), Roles: pick(c, nil, []string{"admin"}), WithDeleted: c.of(2)}, user.Page{Order: "email", Limit: 1000}, true
			if c.of(3) {
				f.Or = []user.Filter{{FirstName: pick(c, sequenceNames...)}, {Emails: some(c, sequenceEmails)}}
			}
		}
		return fmt.Sprintf("list %+v %+v", f, page), func(p people) string {
			answers, n, err := p.list(f, page)
			if sorted {
				slices.Sort(answers)
			}
			return lines(append(answers, fmt.Sprint(n)), err)
		}
	case 12, 16:
		ds := make([]user.InviteDraft, c.size())
		for i := range ds {
			d := c.draft()
			ds[i] = user.InviteDraft{Email: d.Email, Roles: d.Roles, Metadata: d.Metadata}
			if c.of(4) {
				ds[i].Roles = nil
			}
		}
		hasty := c.of(2)
		return fmt.Sprintf("invite, expiring at once: %t, %+v", hasty, ds), func(p people) string { return lines(p.invite(hasty, ds)) }
	case 13:
		of := c.few(m.nInvit)
		if c.of(2) {
			hasty := c.of(2)
			return fmt.Sprintf("refresh, expiring at once: %t, %v", hasty, of), func(p people) string { return lines(p.refresh(hasty, of)) }
		}
		to := c.edits(len(of))
		return fmt.Sprintf("update invites %v %+v", of, to), func(p people) string { return lines(p.updateInvites(of, to)) }
	case 14:
		act, of := pick(c, "delete", "soft-delete", "soft-delete", "restore"), c.few(m.nInvit)
		return fmt.Sprint(act, " invites ", of), func(p people) string { return reasons(p.changeInvites(act, of), false) }
	default:
		if c.of(2) {
			of, token := c.one(m.nInvit), 1
			if i := m.invites[of]; i != nil && !c.of(4) {
				token = i.token
			}
			by := c.IntN(m.nUser + 1)
			return fmt.Sprint("accept ", of, " with token ", token, " by ", by), func(p people) string { return reasons(p.accept(of, token, by), true) }
		}
		f := user.InviteFilter{Q: pick(c, "", "u1"), Accepted: c.of(2), WithDeleted: c.of(2)}
		return fmt.Sprintf("list invites %+v", f), func(p people) string {
			answers, n, err := p.listInvites(f)
			return lines(append(answers, fmt.Sprint(n)), err)
		}
	}
}

func TestRandomCallsDoOnEachDatabaseWhatTheyDoToMapsInMemory(t *testing.T) {
	seed := newChance(t).Uint64()
	each(t, func(t *testing.T, b bench) {
		c := chance{Rand: rand.New(rand.NewPCG(seed, 0))}
		m := &model{users: map[int]*mUser{}, invites: map[int]*mInvite{}}
		s := &numberedService{t: t, bench: b, hasty: b.hasty(t), numbers: map[string]int{}, tokens: map[int][]string{}}
		happened := map[string]int{}
		var calls []string
		same := func(call string, do func(people) string) {
			t.Helper()
			calls = append(calls, call)
			want, got := do(m), do(s)
			for _, reason := range strings.FieldsFunc(want[strings.LastIndex(want, "\n")+1:], func(r rune) bool { return !unicode.IsLower(r) && r != '_' }) {
				happened[reason]++
			}
			wantSaid, said := m.events(), s.events()
			if got != want || !slices.Equal(said, wantSaid) {
				t.Fatalf("after\n%s\nstep %d, %s\n got %s, announcing %q\nwant %s, announcing %q",
					strings.Join(calls[max(0, len(calls)-15):len(calls)-1], "\n"), len(calls), call, got, said, want, wantSaid)
			}
		}
		for range steps {
			same(c.step(m))
		}
		done, kinds := happened["done"], len(happened)
		same("all users", func(p people) string {
			answers, n, err := p.list(user.Filter{WithDeleted: true}, user.Page{Order: "email", Limit: 1000})
			slices.Sort(answers)
			return fmt.Sprint(answers, n, err)
		})
		for _, accepted := range []bool{false, true} {
			same("all invites", func(p people) string {
				answers, n, err := p.listInvites(user.InviteFilter{Accepted: accepted, WithDeleted: true})
				return fmt.Sprint(answers, n, err)
			})
		}
		same("an admin", func(p people) string { ok, err := p.adminExists(); return fmt.Sprint(ok, err) })
		roles := 0
		for _, u := range m.users {
			roles += len(u.roles)
		}
		if users, kept, invites := b.count(t, "user"), b.count(t, "user_role"), b.count(t, "invite"); users != len(m.users) || kept != roles || invites != len(m.invites) {
			t.Errorf("%d users with %d roles and %d invites are kept, want %d, %d, %d", users, kept, invites, len(m.users), roles, len(m.invites))
		}
		if done < steps/3 || kinds < 9 {
			t.Errorf("%d of %d calls did anything, and %d things were said of the others: that tells little", done, steps, kinds-1)
		}
	})
}
