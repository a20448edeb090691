package link_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

func draftOf(change func(n link.Newcomer, d *user.Draft) error) func(context.Context, link.Newcomer, user.Draft) (user.Draft, error) {
	return func(_ context.Context, n link.Newcomer, d user.Draft) (user.Draft, error) { return d, change(n, &d) }
}

// drafting is a policy that has change make what a newcomer is to be.
func drafting(change func(n link.Newcomer, d *user.Draft) error) link.Policy {
	return link.WithDraft(nil, func(_ context.Context, n link.Newcomer, d user.Draft) (user.Draft, error) {
		err := change(n, &d)
		return d, err
	})
}

func newcomer(email string, proved bool) link.Newcomer {
	return link.Newcomer{Identity: auth.Identity{Proved: auth.Proved{Provider: "vouching", Email: email, EmailVerified: proved}}}
}

func TestOnlyAProvedAddressIsOfAnAllowedDomain(t *testing.T) {
	p := link.AllowDomains(link.PolicyFunc(func(context.Context, link.Newcomer) (link.Decision, error) { return link.Join("passed"), nil }),
		"Example.COM", "xn--bcher-kva.example")
	invited, joining := newcomer("eve@example.org", true), newcomer("eve@example.org", true)
	invited.Invite = &user.Invite{}
	joining.Match = &link.Actor{ID: "user_1"}
	for name, c := range map[string]struct {
		n    link.Newcomer
		want link.Decision
	}{
		"proved":             {newcomer("ada@example.com", true), link.Join("passed")},
		"international":      {newcomer("ada@xn--bcher-kva.example", true), link.Join("passed")},
		"claimed":            {newcomer("ada@example.com", false), link.Wait(link.WaitProof)},
		"another":            {newcomer("ada@example.org", true), link.Wait(link.WaitDomain)},
		"another, claimed":   {newcomer("ada@example.org", false), link.Wait(link.WaitDomain)},
		"a subdomain":        {newcomer("ada@mail.example.com", true), link.Wait(link.WaitDomain)},
		"one that ends so":   {newcomer("ada@badexample.com", true), link.Wait(link.WaitDomain)},
		"one that begins so": {newcomer("ada@example.com.evil.example", true), link.Wait(link.WaitDomain)},
		"none":               {newcomer("", false), link.Wait(link.WaitEmail)},
		"invited":            {invited, link.Join("passed")},
		"joining":            {joining, link.Join("passed")},
	} {
		if got, err := p.Decide(t.Context(), c.n); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	if got, err := link.AllowDomains(nil).Decide(t.Context(), newcomer("ada@example.com", true)); err != nil || !reflect.DeepEqual(got, link.Wait(link.WaitDomain)) {
		t.Errorf("no domain at all: %+v, %v, want nobody let in", got, err)
	}
}

func TestRolesOfAnInviteWinOverThoseOfThePolicy(t *testing.T) {
	p := link.WithRoles(link.AutoProvision{}, "reader", "writer")
	invited := newcomer("ada@example.com", true)
	invited.Invite = &user.Invite{Roles: []string{"editor"}}
	plain := newcomer("ada@example.com", true)
	want := plain.Draft()
	want.Roles = []string{"reader", "writer"}
	if got, err := p.Decide(t.Context(), plain); err != nil || !reflect.DeepEqual(got, link.Create(want)) {
		t.Errorf("%+v, %v, want the policy's roles", got, err)
	}
	if got, err := p.Decide(t.Context(), invited); err != nil || !reflect.DeepEqual(got, link.Create(invited.Draft())) {
		t.Errorf("%+v, %v, want the invite's roles", got, err)
	}
}

func TestWhoProvesAnAddressOfAnAllowedDomainBecomesAUser(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		r := noted(t, b, link.ActorOptions{Policy: link.WithRoles(link.AllowDomains(nil, "example.com"), "reader")})
		in := credentials("ada@example.com", "correct horse")
		if _, err := r.auth.Register(t.Context(), "emailpass", in); err != nil {
			t.Fatal(err)
		}
		l, err := r.signIn(t.Context(), "emailpass", in)
		if err != nil || l.ActorID != "" || !l.Unproved || l.Verification == nil || l.Waiting.Reason != "verification_required" || r.count(t, "user") != 0 {
			t.Fatalf("%+v, %v, want somebody who waits, with a mail under way, and no user", l, err)
		}
		made, err := r.auth.CreateVerificationToken(t.Context(), r.lastVerification(t, l.Session, "ada@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.link.ConfirmVerification(t.Context(), l.Session, made.Token); err != nil {
			t.Fatal(err)
		}
		u, err := r.users.FindUser(t.Context(), "ada@example.com")
		if err != nil || !slices.Equal(u.Roles, []string{"reader"}) || !u.EmailVerified() {
			t.Errorf("%+v, %v, want a reader with a proved address", u, err)
		}
		if got := r.take(t); len(got) != 1 {
			t.Errorf("the hook wrote %q", got)
		}
		if l, err := r.signIn(t.Context(), "vouching", vouched("eve", "eve@example.org", true)); err != nil || l.ActorID != "" || l.Waiting.Reason != "domain_not_allowed" {
			t.Errorf("%+v, %v, want somebody of another domain to wait", l, err)
		}
		r.invite(t, "eve@example.org", user.ByMail)
		if l, err := r.signIn(t.Context(), "vouching", vouched("eve", "eve@example.org", true)); err != nil || l.ActorID == "" {
			t.Errorf("%+v, %v, want who was invited let in", l, err)
		}
	})
}

const chosenID user.ID = "user_01ARZ3NDEKTSV4RRFFQ69G5FAV"

func chooses(id user.ID) link.Policy {
	return drafting(func(n link.Newcomer, d *user.Draft) error {
		d.ID, d.Roles, d.Metadata, d.FirstName = id, []string{"staff"}, map[string]any{"at": n.Identity.Proved.EntityID}, new("Chosen")
		return nil
	})
}

func TestThePolicyChoosesWhoTheNewUserIs(t *testing.T) {
	for name, become := range map[string]func(t *testing.T, r *rows) error{
		"a sign-in": func(t *testing.T, r *rows) error {
			l, err := r.signIn(t.Context(), "vouching", vouched("ada", "ada@example.com", true))
			if l.ActorID != string(chosenID) || l.Token == "" {
				return fmt.Errorf("%q: %w", l.ActorID, err)
			}
			return err
		},
		"a sign-in of who has registered": func(t *testing.T, r *rows) error {
			r.signUp(t, "ada@example.com", "correct horse")
			l, err := r.signIn(t.Context(), "emailpass", credentials("ada@example.com", "correct horse"))
			if l.ActorID != string(chosenID) {
				return fmt.Errorf("%q: %w", l.ActorID, err)
			}
			return err
		},
		"a proof": func(t *testing.T, r *rows) error {
			r.signUp(t, "ada@example.com", "correct horse")
			l, err := r.signIn(t.Context(), "emailpass", credentials("ada@example.com", "correct horse"))
			if err != nil {
				return err
			}
			made, err := r.auth.CreateVerificationToken(t.Context(), r.lastVerification(t, l.Session, "ada@example.com"))
			if err != nil {
				return err
			}
			_, err = r.link.ConfirmVerification(t.Context(), l.Session, made.Token)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, b bridge) {
				r := noted(t, b, link.ActorOptions{Policy: chooses(chosenID), RequireVerifiedEmail: name == "a proof"})
				if err := become(t, r); err != nil {
					t.Fatal(err)
				}
				u, err := r.users.RetrieveUser(t.Context(), chosenID)
				if err != nil || u.Email != "ada@example.com" || *u.FirstName != "Chosen" || !slices.Equal(u.Roles, []string{"staff"}) || u.Metadata["at"] == "" {
					t.Errorf("%+v, %v, want whom the policy chose", u, err)
				}
				var actor string
				if err := r.db.Conn(t.Context()).QueryRowContext(t.Context(), "SELECT actor FROM rows").Scan(&actor); err != nil || actor != string(chosenID) {
					t.Errorf("the hook was told of %q, %v", actor, err)
				}
				if ways, err := r.link.AuthProviders(t.Context(), chosenID); err != nil || len(ways) != 1 {
					t.Errorf("they sign in by %q, %v", ways, err)
				}
			})
		})
	}
}

func TestAnIDThatIsTakenIsNobodyElses(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, b bridge){
		"by a user who signs in": func(t *testing.T, b bridge) {
			_, err := b.link.CreateUser(t.Context(), "emailpass", credentials("bob@example.com", "correct horse"), user.Draft{ID: chosenID, Email: "bob@example.com"})
			if err != nil {
				t.Fatal(err)
			}
		},
		"by a user who never did": func(t *testing.T, b bridge) {
			if _, err := b.users.CreateUsers(t.Context(), user.Draft{ID: chosenID, Email: "bob@example.com"}); err != nil {
				t.Fatal(err)
			}
		},
		"by a user who was deleted": func(t *testing.T, b bridge) {
			if _, err := b.users.CreateUsers(t.Context(), user.Draft{ID: chosenID, Email: "bob@example.com"}); err != nil {
				t.Fatal(err)
			}
			if err := b.users.SoftDeleteUsers(t.Context(), chosenID); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachWith(t, link.ActorOptions{Policy: chooses(chosenID)}, func(t *testing.T, b bridge) {
				before(t, b)
				was := b.tables(t)
				_, err := b.signIn(t.Context(), "vouching", vouched("ada", "ada@example.com", true))
				if !errors.Is(err, user.ErrIDTaken) {
					t.Errorf("%v, want %v", err, user.ErrIDTaken)
				}
				_, err = b.link.CreateUser(t.Context(), "emailpass", credentials("eve@example.com", "correct horse"), user.Draft{ID: chosenID, Email: "eve@example.com"})
				if !errors.Is(err, user.ErrIDTaken) {
					t.Errorf("CreateUser: %v, want %v", err, user.ErrIDTaken)
				}
				if now := b.tables(t); !reflect.DeepEqual(was, now) {
					t.Errorf("the tables hold\n%v\nwant\n%v", now, was)
				}
			})
		})
	}
}

// Several people for whom the policy chooses one id: one is it. Several sign-ins of one address: all are.
func TestOfManyWhoAreGivenOneIDOneHasIt(t *testing.T) {
	eachWith(t, link.ActorOptions{Policy: chooses(chosenID)}, func(t *testing.T, b bridge) {
		became, refused := 0, 0
		for i, err := range databasetest.Together(20, func(i int) error {
			_, err := b.signIn(t.Context(), "vouching", vouched(fmt.Sprint("p", i), fmt.Sprintf("p%d@example.com", i), true))
			return err
		}) {
			switch {
			case err == nil:
				became++
			case errors.Is(err, user.ErrIDTaken):
				refused++
			default:
				t.Errorf("%d: %v", i, err)
			}
		}
		if became != 1 || refused != 19 || b.count(t, "user") != 1 || b.count(t, "link") != 1 {
			t.Errorf("%d became it and %d were refused; %d users, %d links", became, refused, b.count(t, "user"), b.count(t, "link"))
		}
	})
	eachWith(t, link.ActorOptions{Policy: chooses(chosenID)}, func(t *testing.T, b bridge) {
		for i, err := range databasetest.Together(20, func(i int) error {
			l, err := b.signIn(t.Context(), "vouching", vouched(fmt.Sprint("ada", i), "ada@example.com", true))
			if err == nil && l.ActorID != string(chosenID) {
				err = fmt.Errorf("signed in as %q", l.ActorID)
			}
			return err
		}) {
			if err != nil {
				t.Errorf("one address, %d: %v", i, err)
			}
		}
		if b.count(t, "user") != 1 || b.count(t, "link") != 1 {
			t.Errorf("%d users, %d links, want one of each", b.count(t, "user"), b.count(t, "link"))
		}
	})
}

func TestADraftThatCannotBeIsTheApplicationsFaultAndLeavesNothing(t *testing.T) {
	refused := fault.New(fault.Forbidden, "no_contract", "Your company has no contract.")
	broken := errors.New("the list of contracts is broken")
	for _, c := range []struct {
		change func(n link.Newcomer, d *user.Draft) error
		says   string
		fault  *fault.Error
	}{
		{func(link.Newcomer, *user.Draft) error { return broken }, broken.Error(), nil},
		{func(link.Newcomer, *user.Draft) error { return refused }, refused.Message, refused},
		{func(_ link.Newcomer, d *user.Draft) error { d.Roles = append(d.Roles, "a b"); return nil }, "a role that is none", nil},
		{func(_ link.Newcomer, d *user.Draft) error { d.ID = "ada"; return nil }, "an id that is none", nil},
		{func(_ link.Newcomer, d *user.Draft) error { d.Email = "victim@example.com"; return nil }, "changes the address", nil},
		{func(_ link.Newcomer, d *user.Draft) error { d.EmailVerified = true; return nil }, "changes the address", nil},
		{func(_ link.Newcomer, d *user.Draft) error { d.Via = user.ViaSetup; return nil }, "how the user came to be", nil},
	} {
		eachWith(t, link.ActorOptions{Policy: drafting(c.change)}, func(t *testing.T, b bridge) {
			was := b.tables(t)
			_, err := b.signIn(t.Context(), "vouching", vouched("ada", "ada@example.com", false))
			if err == nil || !strings.Contains(err.Error(), "link: the policy of user") || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want one that says %s", err, c.says)
			}
			if f, ok := fault.Of(err); ok != (c.fault != nil) || ok && !errors.Is(err, c.fault) {
				t.Errorf("%v is the fault %+v, want %+v", err, f, c.fault)
			}
			if now := b.tables(t); !reflect.DeepEqual(was, now) {
				t.Errorf("%s: the tables hold\n%v\nwant\n%v", c.says, now, was)
			}
		})
	}
}
