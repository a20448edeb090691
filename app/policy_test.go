package app_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"testing"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// parts starts what a program is made of, but for listening, on a database of its own.
func parts(t testing.TB, set []string, opts ...fx.Option) (users *user.Service, identities *auth.Service, links *link.Service, err error) {
	t.Helper()
	cfg, err := app.LoadConfig(app.LoadArgs{Dir: t.TempDir(), Environ: append(set, "LATCHKEY_DATA_DIR="+t.TempDir(), "LATCHKEY_SECRETS="+testSecret, "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=4",
		"LATCHKEY_HTTP_ADDR=127.0.0.1:0", "LATCHKEY_LOG_LEVEL=error")})
	if err != nil {
		return nil, nil, nil, err
	}
	program := fx.New(append([]fx.Option{app.Module(cfg), fx.NopLogger, fx.Populate(&users, &identities, &links)}, opts...)...)
	return users, identities, links, program.Err()
}

func signsIn(t testing.TB, identities *auth.Service, links *link.Service, email string) link.Login {
	t.Helper()
	in := auth.Input(fmt.Sprintf(`{"email":%q,"password":"correct horse"}`, email))
	if _, err := identities.Register(t.Context(), "emailpass", in); err != nil {
		t.Fatal(err)
	}
	l, err := links.SignIn(t.Context(), "user", "emailpass", in, auth.Client{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTheConfigurationSaysWhoseAddressesBecomeUsersWithWhichRoles(t *testing.T) {
	_, identities, links, err := parts(t, []string{"LATCHKEY_LINK_ACTORS_USER_ALLOWED_DOMAINS=example.com", "LATCHKEY_LINK_ACTORS_USER_DEFAULT_ROLES=reader"})
	if err != nil {
		t.Fatal(err)
	}
	if l := signsIn(t, identities, links, "eve@example.org"); l.Waiting == nil || l.Waiting.Reason != "domain_not_allowed" {
		t.Errorf("somebody of another domain: %+v", l.Waiting)
	}
	if l := signsIn(t, identities, links, "ada@example.com"); l.Waiting == nil || l.Waiting.Reason != "verification_required" {
		t.Errorf("an address that nobody has proved: %+v", l.Waiting)
	}
	users, identities, links, err := parts(t, []string{"LATCHKEY_LINK_ACTORS_USER_DEFAULT_ROLES=reader"})
	if err != nil {
		t.Fatal(err)
	}
	l := signsIn(t, identities, links, "ada@example.com")
	if u, err := users.FindUser(t.Context(), "ada@example.com"); err != nil || l.Waiting != nil || len(u.Roles) != 1 || !u.HasRole("reader") {
		t.Errorf("%+v, %v, want a reader", u, err)
	}
}

func TestAPolicyOfTheProgramDecidesInPlaceOfTheConfigurationOrStopsIt(t *testing.T) {
	own := fx.Provide(link.AsPolicy(func(users *user.Service) link.Policy {
		return link.PolicyFunc(func(ctx context.Context, n link.Newcomer) (link.Decision, error) {
			return link.Wait(link.Waiting{Reason: "not_staff", Message: "This is for staff.", Next: "Ask for an invite."}), nil
		})
	}))
	_, identities, links, err := parts(t, nil, own)
	if err != nil {
		t.Fatal(err)
	}
	if l := signsIn(t, identities, links, "ada@example.com"); l.Waiting == nil || l.Waiting.Reason != "not_staff" {
		t.Errorf("%+v, want the program's policy to decide", l.Waiting)
	}
	_, _, _, err = parts(t, []string{"LATCHKEY_LINK_ACTORS_USER_POLICY=invite", "LATCHKEY_LINK_ACTORS_USER_ALLOWED_DOMAINS=example.com",
		"LATCHKEY_LINK_ACTORS_USER_DEFAULT_ROLES="}, own)
	for _, key := range []string{"POLICY", "ALLOWED_DOMAINS", "DEFAULT_ROLES"} {
		if err == nil || !strings.Contains(err.Error(), "LATCHKEY_LINK_ACTORS_USER_"+key+": must not be set: this program decides by a policy of its own") {
			t.Errorf("%v, want it to name %s", err, key)
		}
	}
	_, identities, links, err = parts(t, []string{"LATCHKEY_LINK_ACTORS_USER_POLICY=manual"}, fx.Decorate(func(o link.Options) link.Options {
		users := o.Actors[link.ActorUser]
		configured := users.Policy
		users.Policy = link.PolicyFunc(func(ctx context.Context, n link.Newcomer) (link.Decision, error) { return configured.Decide(ctx, n) })
		o.Actors[link.ActorUser] = users
		return o
	}))
	if err != nil {
		t.Fatal(err)
	}
	if l := signsIn(t, identities, links, "ada@example.com"); l.Waiting == nil || l.Waiting.Reason != "not_linked" {
		t.Errorf("%+v, want what the configuration says, through what was put around it", l.Waiting)
	}
}

// A program with a policy of its own takes one line more.
func Example_policy() {
	newPolicy := func() link.Policy {
		return link.WithRoles(link.AllowDomains(link.AutoProvision{}, "example.com"), "staff")
	}

	dir, err := os.MkdirTemp("", "policy")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cfg, err := app.LoadConfig(app.LoadArgs{Environ: append(os.Environ(), "LATCHKEY_DATA_DIR="+dir, "LATCHKEY_SECRETS="+testSecret, "LATCHKEY_HTTP_ADDR=127.0.0.1:0", "LATCHKEY_LOG_LEVEL=error")})
	if err != nil {
		log.Fatal(err)
	}
	var identities *auth.Service
	var links *link.Service
	program := fx.New(app.Module(cfg), fx.NopLogger, // or app.New, or app.Main
		fx.Provide(link.AsPolicy(newPolicy)),
		fx.Populate(&identities, &links))
	if err := program.Err(); err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	in := auth.Input(`{"email":"eve@example.org","password":"correct horse"}`)
	if _, err := identities.Register(ctx, "emailpass", in); err != nil {
		log.Fatal(err)
	}
	l, err := links.SignIn(ctx, "user", "emailpass", in, auth.Client{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(l.Waiting.Reason)
	// Output: domain_not_allowed
}
