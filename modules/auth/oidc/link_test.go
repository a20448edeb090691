package oidc_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/auth/oidc"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

// oneStep is a provider with both of its steps and the browser's way between them in one, so that the link layer can be asked.
// Each input is a person of the issuer.
type oneStep struct {
	*oidc.Provider
	issuer *authtest.Issuer
	turn   *sync.Mutex // the issuer signs in whoever was named last
}

func (o oneStep) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Person authtest.Person
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	if _, err := a.Secret(ctx, in.Person.Subject); err != nil {
		return auth.Assertion{}, err
	}
	c, err := o.Begin(ctx, auth.Attempt{FlowID: rand.Text()})
	if err != nil {
		return auth.Assertion{}, err
	}
	o.turn.Lock()
	o.issuer.SignIn(in.Person)
	back, err := o.issuer.Visit(c.RedirectURL)
	o.turn.Unlock()
	if err != nil {
		return auth.Assertion{}, err
	}
	return o.Finish(ctx, auth.Attempt{Input: input(back.Values), State: c.State})
}

// bridge is the link layer over an honest issuer, trusted with example.com; one that is trusted with its own domain; and one
// that is trusted with none. All say that every address is verified.
type bridge struct {
	*testing.T
	auth  *auth.Service
	users *user.Service
	link  *link.Service
}

func eachBridge(t *testing.T, f func(b bridge)) {
	t.Helper()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		t.Parallel()
		db := at.Open(t, user.Migrations(), auth.Migrations(), link.Migrations())
		keys, err := keyring.New(make([]byte, keyring.MinSecret))
		must(t, err)
		passwords, err := auth.NewPasswords(auth.PasswordParams{Keys: keys, Options: auth.PasswordOptions{Cost: 4}})
		must(t, err)
		log := slog.New(slog.DiscardHandler)
		providers := []auth.Provider{emailpass.New(passwords, emailpass.Config{})}
		for id, trusted := range map[string][]string{"honest": {"example.com"}, "partner": {"partner.example"}, "open": nil} {
			issuer := authtest.NewIssuer(t, authtest.IssuerOptions{Path: "/" + id})
			c := of(issuer)
			c.TrustedDomains = trusted
			providers = append(providers, oneStep{provider(t, id, c, log), issuer, new(sync.Mutex)})
		}
		b := bridge{T: t}
		b.auth, err = auth.New(auth.Params{DB: db, Keys: keys, Providers: providers, Log: log, Options: auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}}})
		must(t, err)
		b.users, err = user.New(user.Params{DB: db, Keys: keys, Log: log})
		must(t, err)
		b.link, err = link.New(link.Params{DB: db, Users: b.users, Auth: b.auth, Log: log})
		must(t, err)
		f(b)
	})
}

// by signs somebody in by an issuer that says so of them.
func (b bridge) by(provider, subject, address string, verified bool) (link.Login, error) {
	return b.link.SignIn(b.Context(), link.ActorUser, provider, quoted(subject, address, verified), auth.Client{})
}

func quoted(subject, address string, verified bool) auth.Input {
	return auth.Input(`{"Person":{"Subject":"` + subject + `","Email":"` + address + `","EmailVerified":` + map[bool]string{true: "true", false: "false"}[verified] + `}}`)
}

func (b bridge) mustBy(provider, subject, address string, verified bool) link.Login {
	b.Helper()
	l, err := b.by(provider, subject, address, verified)
	if err != nil {
		b.Fatalf("%s signs in by %s: %v", subject, provider, err)
	}
	return l
}

func (b bridge) waits(what string, l link.Login) {
	b.Helper()
	if l.ActorID != "" || l.Waiting == nil || l.Waiting.Reason != link.WaitVerifyEmail.Reason {
		b.Errorf("%s: %q, %+v; want to be nobody until the address is proved", what, l.ActorID, l.Waiting)
	}
}

func (b bridge) password(address, password string) (link.Login, error) {
	return b.link.SignIn(b.Context(), link.ActorUser, "emailpass", auth.Input(`{"email":"`+address+`","password":"`+password+`"}`), auth.Client{})
}

func (b bridge) register(address, password string) link.Login {
	b.Helper()
	l, err := b.link.SignUp(b.Context(), link.ActorUser, "emailpass", auth.Input(`{"email":"`+address+`","password":"`+password+`"}`), auth.Client{})
	must(b, err)
	return l
}

// P1 (security: PocketBase CVE-2024-38351, Supabase #509): a password that an attacker made before does not open what the owner
// of the mailbox takes over, and neither does a session of then.
func TestAPasswordMadeBeforeIsGone(t *testing.T) {
	eachBridge(t, func(b bridge) {
		b.register("ada@example.com", "correct horse")
		attacker, err := b.password("ada@example.com", "correct horse")
		must(b, err)
		victim := b.mustBy("honest", "ada", "ada@example.com", true)
		if victim.ActorID == "" || victim.ActorID != attacker.ActorID {
			b.Errorf("the victim is %q, want the row %q that was squatted", victim.ActorID, attacker.ActorID)
		}
		if _, err := b.password("ada@example.com", "correct horse"); !errors.Is(err, auth.ErrInvalidCredentials) {
			b.Errorf("the attacker's password: %v", err)
		}
		if _, err := b.link.Refresh(b.Context(), attacker.Session); err == nil {
			b.Error("the attacker's session lives on")
		}
	})
}

// P1 (a), P5, Better Auth GHSA-g38m, Supabase CVE-2026-31813: an issuer whose word does not count merges nothing, whether it says
// that the address is verified or not, and whoever is first.
func TestAnIssuerThatIsNotTrustedWithADomainTakesNobodyOver(t *testing.T) {
	eachBridge(t, func(b bridge) {
		owner := b.mustBy("honest", "ada", "ada@example.com", true)
		for _, provider := range []string{"partner", "open", "honest"} {
			for _, verified := range []bool{true, false} {
				if provider == "honest" && verified {
					continue
				}
				b.waits(provider+" after the owner", b.mustBy(provider, "eve", "ada@example.com", verified))
			}
		}
		if again := b.mustBy("honest", "ada", "ada@example.com", true); again.ActorID != owner.ActorID || again.Identity.ID != owner.Identity.ID {
			b.Errorf("the owner is %s, was %s", again.ActorID, owner.ActorID)
		}

		// The attacker is first: the owner takes the row, and the attacker is nobody.
		squatter := b.mustBy("open", "mallory", "bob@example.com", true)
		bob := b.mustBy("honest", "bob", "bob@example.com", true)
		if bob.ActorID == "" || bob.ActorID != squatter.ActorID || bob.Identity.ID == squatter.Identity.ID {
			b.Errorf("bob is %s (%s), the squatter was %s (%s)", bob.ActorID, bob.Identity.ID, squatter.ActorID, squatter.Identity.ID)
		}
		if after, err := b.by("open", "mallory", "bob@example.com", true); err == nil && after.ActorID == bob.ActorID {
			b.Error("the squatter is bob still")
		}
		if _, err := b.link.Refresh(b.Context(), squatter.Session); err == nil {
			b.Error("the squatter's session lives on")
		}
	})
}

// P1 (b): the owner is there, and the attacker registers.
func TestWhoRegistersAfterwardsIsNobody(t *testing.T) {
	eachBridge(t, func(b bridge) {
		owner := b.mustBy("honest", "ada", "ada@example.com", true)
		b.register("ada@example.com", "correct horse")
		l, err := b.password("ada@example.com", "correct horse")
		must(b, err)
		b.waits("who registered", l)
		if l.Identity.ID == owner.Identity.ID {
			b.Error("the attacker has the owner's identity")
		}
	})
}

// Both sides proved: another subject with the same verified address is the same user, and only then.
func TestAnotherSubjectJoinsWhenBothSidesAreProved(t *testing.T) {
	eachBridge(t, func(b bridge) {
		ada := b.mustBy("honest", "ada", "ada@example.com", true)
		second := b.mustBy("honest", "ada-2", "Ada@Example.com", true)
		if second.ActorID != ada.ActorID || second.Identity.ID != ada.Identity.ID {
			b.Errorf("the second subject is %s, want %s", second.ActorID, ada.ActorID)
		}
		other := b.mustBy("partner", "grace", "grace@partner.example", true)
		if other.ActorID == "" || other.ActorID == ada.ActorID {
			b.Errorf("grace is %q", other.ActorID)
		}
	})
}

// An identity is a subject of an issuer and not an address: who moves keeps their user, and who gets the address of before does
// not get it (Better Auth 14fb2bd387, ASVS 6.8.1).
func TestASubjectThatMovesKeepsItsUser(t *testing.T) {
	eachBridge(t, func(b bridge) {
		ada := b.mustBy("honest", "ada", "ada@example.com", true)
		moved := b.mustBy("honest", "ada", "lovelace@example.com", true)
		if moved.ActorID != ada.ActorID || moved.Identity.ID != ada.Identity.ID {
			b.Errorf("after moving ada is %s, was %s", moved.ActorID, ada.ActorID)
		}
		// An attacker moves to an address of somebody else: they stay who they are.
		eve := b.mustBy("honest", "eve", "eve@example.com", true)
		if at := b.mustBy("honest", "eve", "lovelace@example.com", true); at.ActorID != eve.ActorID {
			b.Errorf("eve is %s after claiming ada's address, was %s", at.ActorID, eve.ActorID)
		}
		same := b.mustBy("partner", "ada", "ada@partner.example", true)
		if same.ActorID == ada.ActorID {
			b.Error("the same subject of another issuer is ada")
		}
	})
}

// Rows 28 and 31: whoever was deactivated or deleted is not let in by the back door.
func TestADeactivatedUserIsNotLetIn(t *testing.T) {
	eachBridge(t, func(b bridge) {
		ada := b.mustBy("honest", "ada", "ada@example.com", true)
		must(b, b.users.DeactivateUsers(b.Context(), user.ID(ada.ActorID)))
		if _, err := b.by("honest", "ada", "ada@example.com", true); !errors.Is(err, link.ErrDeactivated) {
			b.Errorf("deactivated: %v", err)
		}
		if l, err := b.by("honest", "ada-2", "ada@example.com", true); err == nil && l.ActorID != "" {
			b.Errorf("another subject of the deactivated user is let in as %s", l.ActorID)
		}
	})
}

// Row 25: what the issuer says that cannot be kept makes nobody; what is no address counts as none.
func TestWhatCannotBeKeptMakesNobody(t *testing.T) {
	eachBridge(t, func(b bridge) {
		for _, address := range []string{"ada", "ada@example.com,eve@example.com", "<ada@example.com>", "ada @example.com"} {
			l, err := b.by("honest", "ada", address, true)
			if err != nil || l.ActorID != "" || l.Waiting == nil || l.Waiting.Reason != link.WaitEmail.Reason {
				b.Errorf("%q: %q, %+v, %v; want to be asked for an address", address, l.ActorID, l.Waiting, err)
			}
		}
	})
}

// However many browsers somebody signs in with for the first time, they are one user.
func TestManyFirstSignInsAreOneUser(t *testing.T) {
	eachBridge(t, func(b bridge) {
		seen := make([]string, 8)
		for _, err := range databasetest.Together(len(seen), func(i int) error {
			l, err := b.by("honest", []string{"ada", "ada-2"}[i%2], "ada@example.com", true)
			seen[i] = l.ActorID
			return err
		}) {
			if err != nil {
				b.Error(err)
			}
		}
		for _, id := range seen {
			if id == "" || id != seen[0] {
				b.Fatalf("they are %v, want one", seen)
			}
		}
	})
}
