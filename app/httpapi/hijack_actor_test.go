package httpapi_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/user"
)

// shoppers are actors of an application, who are known by their address.
type shoppers struct{ db *database.DB }

func (shoppers) ActorType() string { return "shopper" }

func (s shoppers) read(ctx context.Context, column, is string) (link.Actor, error) {
	var rows []struct {
		ID, Email string
		Proved    bool
	}
	err := s.db.Conn(ctx).NewRaw("SELECT id, email, proved FROM shopper WHERE "+column+" = ?", is).Scan(ctx, &rows)
	if err != nil || len(rows) == 0 {
		return link.Actor{}, fmt.Errorf("%w: %w", link.ErrNoActor, err)
	}
	return link.Actor{ID: rows[0].ID, Email: rows[0].Email, EmailVerified: rows[0].Proved}, nil
}

func (s shoppers) exec(ctx context.Context, statement string, args ...any) (bool, error) {
	return database.Touched(s.db.Conn(ctx).NewRaw(statement, args...).Exec(ctx))
}

func (s shoppers) FindActor(ctx context.Context, id string) (link.Actor, error) {
	return s.read(ctx, "id", id)
}

func (s shoppers) FindActorByEmail(ctx context.Context, address string) (link.Actor, error) {
	return s.read(ctx, "email", address)
}

func (s shoppers) CreateActor(ctx context.Context, d user.Draft) (link.Actor, bool, error) {
	made, err := s.exec(ctx, "INSERT INTO shopper (id, email, proved) VALUES (?, ?, ?) ON CONFLICT (email) DO NOTHING", string(d.ID), d.Email, d.EmailVerified)
	if err != nil {
		return link.Actor{}, false, err
	}
	a, err := s.FindActorByEmail(ctx, d.Email)
	return a, made, err
}

func (s shoppers) VerifyActor(ctx context.Context, a link.Actor) (bool, error) {
	return s.exec(ctx, "UPDATE shopper SET proved = ? WHERE id = ? AND email = ?", true, a.ID, a.Email)
}

func (s shoppers) DeleteActor(ctx context.Context, id string) error {
	_, err := s.exec(ctx, "DELETE FROM shopper WHERE id = ?", id)
	return err
}

// servingShoppers are settings' actors: shoppers, whose table it makes.
func servingShoppers(t *testing.T) func(*database.DB) link.Actors {
	return func(db *database.DB) link.Actors {
		check(t, db.InTx(context.Background(), func(ctx context.Context) error {
			_, err := db.Conn(ctx).NewRaw("CREATE TABLE shopper (id text PRIMARY KEY, email text UNIQUE, proved boolean NOT NULL)").Exec(ctx)
			return err
		}))
		return shoppers{db}
	}
}

// The classic in a shop: another actor type has the same rules, and what somebody has as one is no way to be another.
func TestPreHijackOfAnotherActorType(t *testing.T) {
	eachWith(t, settings{auth: unthrottled.auth, actors: servingShoppers(t)}, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		post := func(path, body string) answer { return s.do(t, "POST", path, body) }
		vouch := func(as, name, address string) string {
			return s.token(t, as+" by a provider", post("/auth/"+as+"/vouching", fmt.Sprintf(`{"name":%q,"email":%q,"verified":true}`, name, address)))
		}
		squat := func(address string) (kept []string, id string) {
			kept = append(kept, bearer(s.token(t, "register", post("/auth/shopper/emailpass/register", credentials(address, password)))))
			shopper := s.token(t, "sign in", post("/auth/shopper/emailpass", credentials(address, password)))
			kept = append(kept, bearer(shopper), s.openCookie(t, shopper))
			kept = append(kept, bearer(s.token(t, "refresh", s.do(t, "POST", "/auth/token/refresh", "", bearer(shopper)))))
			if id = actor(t, shopper); id == "" {
				t.Fatalf("the squatter of %s is nobody", address)
			}
			return kept, id
		}
		out := func(address string, kept []string) {
			t.Helper()
			s.wantDead(t, "the squatter's of "+address, kept...)
			for _, as := range []string{"shopper", "user"} {
				if a := post("/auth/"+as+"/emailpass", credentials(address, password)); a.status != 401 {
					t.Errorf("the squatter's password at %s, as %s: %d %s", address, as, a.status, a.body)
				}
			}
		}

		kept, id := squat("v1@example.com")
		if got := actor(t, vouch("shopper", "v1", "v1@example.com")); got != id {
			t.Errorf("the owner of the mailbox is %q, want %q", got, id)
		}
		out("v1@example.com", kept)

		victim := vouch("shopper", "v2", "v2@example.com")
		s.token(t, "register", post("/auth/shopper/emailpass/register", credentials("v2@example.com", password)))
		late := post("/auth/shopper/emailpass", credentials("v2@example.com", password))
		if late.status != 200 || actor(t, late.get("token")) != "" || actor(t, victim) == "" {
			t.Errorf("reversed: %d %s", late.status, late.body)
		}

		// A shopper is no user by that, also when the address is invited; the victim is both.
		kept, id = squat("v3@example.com")
		s.invite(t, admin, "v3@example.com")
		owner := vouch("user", "v3", "v3@example.com")
		if me := s.me(t, bearer(owner)); me.get("user", "email") != "v3@example.com" || me.get("user", "email_verified_at") == "" {
			t.Errorf("the victim as a user: %s", me.body)
		}
		for _, credential := range kept {
			if a := s.do(t, "GET", "/admin/users/me", "", credential); a.status != 401 {
				t.Errorf("a shopper's credential under /admin: %d %s", a.status, a.body)
			}
		}
		if a := post("/auth/user/emailpass", credentials("v3@example.com", password)); a.status != 200 || actor(t, a.get("token")) != "" {
			t.Errorf("the squatter as a user: %d %s", a.status, a.body)
		}
		if got := actor(t, vouch("shopper", "v3", "v3@example.com")); got != id {
			t.Errorf("the victim as a shopper is %q, want %q", got, id)
		}
		out("v3@example.com", kept)

		kept, _ = squat("v4@example.com")
		if a := s.update(t, s.resetToken(t, "v4@example.com", auth.ByMail), newPassword); a.status != 200 {
			t.Fatalf("reset: %d %s", a.status, a.body)
		}
		out("v4@example.com", kept)

		kept, _ = squat("v5@example.com")
		s.adminWith(t, "v5@example.com", "the operator's")
		out("v5@example.com", kept)
		s.invariants(t)
	})
}

// What an attacker attaches is their own, whatever address it names, and to what they have only prepared they attach nothing.
func TestPreHijackByAnAttachedWayToSignIn(t *testing.T) {
	eachWith(t, settings{auth: unthrottled.auth, actors: servingShoppers(t)}, func(t *testing.T, s *server) {
		vouch := func(as, name, address string, verified bool) string {
			return s.token(t, name, s.do(t, "POST", "/auth/"+as+"/vouching", fmt.Sprintf(`{"name":%q,"email":%q,"verified":%t}`, name, address, verified)))
		}
		const trojan = `{"name":"trojan","email":"vic@example.com","verified":false}`

		squatted := s.member(t, "vic@example.com")
		again := trojan[:len(trojan)-1] + `,"current_password":"` + password + `"}`
		if a := s.addWay(t, "vouching", again, bearer(squatted)); a.status != 403 || a.get("reason") != "primary_email_unproved" {
			t.Errorf("to a user at the victim's address: %d %s", a.status, a.body)
		}

		mallory := vouch("user", "mallory", "mallory@example.com", true)
		if a := s.addWay(t, "vouching", trojan, bearer(mallory)); a.status != 200 {
			t.Fatalf("to the attacker's own: %d %s", a.status, a.body)
		}
		shopper := actor(t, vouch("shopper", "trojan", "vic@example.com", false)) // by the attacker's identity, which is proved at another address
		if got := actor(t, vouch("shopper", "vic", "vic@example.com", true)); got != shopper || got == "" {
			t.Errorf("the victim is the shopper %q, want %q", got, shopper)
		}
		victim := vouch("user", "vic", "vic@example.com", true)
		for _, as := range []string{"shopper", "user"} {
			if got := actor(t, vouch(as, "trojan", "vic@example.com", false)); got == shopper || got == actor(t, victim) {
				t.Errorf("the attacker is the victim's %s", as)
			}
			if a := s.do(t, "POST", "/auth/"+as+"/emailpass", credentials("vic@example.com", password)); a.status != 401 {
				t.Errorf("by the password of before, as %s: %d %s", as, a.status, a.body)
			}
		}
		if got := s.ways(t, bearer(victim)); len(got) != 1 {
			t.Errorf("the victim signs in by %v", got)
		}
		s.wantDead(t, "what the attacker had", bearer(squatted), bearer(mallory)) // the second was a session of the identity that was a shopper
		s.invariants(t)
	})
}
