package link_test

import (
	"slices"
	"testing"

	"github.com/latchkey-go/latchkey/modules/user"
)

func TestAuthProvidersAreTheWaysAUserSignsIn(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		want := func(what string, id user.ID, want ...string) {
			t.Helper()
			got, err := b.link.AuthProviders(t.Context(), id)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %q, %v, want %q", what, got, err, want)
			}
		}
		signIn := func(name string) user.ID {
			t.Helper()
			l, err := b.signIn(t.Context(), "vouching", vouched(name, "ada@example.com", true))
			if err != nil || l.ActorID == "" {
				t.Fatalf("%s signs in: %+v, %v", name, l, err)
			}
			return user.ID(l.ActorID)
		}
		ada := signIn("ada")
		want("one way", ada, "vouching")
		if other := signIn("ada lovelace"); other != ada {
			t.Fatalf("the second way leads to %s, want %s", other, ada)
		}
		want("two ways by one provider", ada, "vouching")
		u, err := b.link.CreateUser(t.Context(), "emailpass", credentials("bob@example.com", "correct horse"), user.Draft{Email: "bob@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		if l, err := b.signIn(t.Context(), "vouching", vouched("bob", "bob@example.com", true)); err != nil || user.ID(l.ActorID) != u.ID {
			t.Fatalf("bob signs in another way: %+v, %v", l, err)
		}
		want("two providers, by name", u.ID, "emailpass", "vouching")

		bare, err := b.users.CreateUsers(t.Context(), user.Draft{Email: "eve@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		want("no way yet", bare[0].ID)
		if err := b.users.SoftDeleteUsers(t.Context(), u.ID); err != nil {
			t.Fatal(err)
		}
		want("deleted", u.ID)
		for _, id := range []user.ID{"user_none", "", "user_\x00", "\xff", "' OR ''='"} {
			want("nobody", id)
		}
	})
}
