package console_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

const (
	resetPath   = "/app/reset-password"
	newPassword = "battery staple tower"
	deadLink    = "This link was used already, has expired, or a newer one was sent. Ask for a new one below."
)

// mailed is the token that a mail for the newest request holds.
func (s *site) mailed(t *testing.T) string {
	t.Helper()
	made, err := s.auth.CreatePasswordResetToken(t.Context(), s.asked.last(t), auth.ByMail)
	if err != nil {
		t.Fatal(err)
	}
	return s.secret(made.Token)
}

// forgot asks for a new password, and returns the path of the mailed link.
func (s *site) forgot(t *testing.T, address string) (path string) {
	t.Helper()
	err := s.link.RequestPasswordReset(t.Context(), auth.ResetRequest{ActorType: link.ActorUser, Provider: "emailpass", EntityID: address})
	if err != nil {
		t.Fatal(err)
	}
	return resetPath + "?token=" + url.QueryEscape(s.mailed(t))
}

// wantAsking wants the form that asks for a link.
func (b *browser) wantAsking(status int, texts ...string) {
	b.t.Helper()
	b.want(status, resetPath, append(texts, "Forgot your password?", `name="email" type="email" autocomplete="username" required`)...)
	b.wantNot(`name="token"`, `type="password"`)
}

func TestForgottenPasswordIsSetAnewByAMailedLink(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com", "editor")
		elsewhere := s.browser(t)
		elsewhere.signIn("ada@example.com")
		cookie := s.secret(elsewhere.cookie())

		b := s.browser(t)
		b.get("/app/login")
		b.get(resetPath)
		b.wantAsking(http.StatusOK)
		b.submit(resetPath, fields("email", "Ada@Example.com"))
		b.want(http.StatusOK, resetPath, "Look into your mailbox", "<strong>ada@example.com</strong>", `role="status"`)
		if e := s.asked.last(t); e.EntityID != "ada@example.com" || e.ActorType != link.ActorUser || e.Provider != "emailpass" {
			t.Errorf("asked for %+v", e)
		}

		token := s.mailed(t)
		b.get(resetPath + "?token=" + token)
		b.want(http.StatusOK, resetPath, "Choose a new password", `readonly value="ada@example.com"`, "signs you out everywhere",
			`autocomplete="new-password" required aria-describedby="password-hint" autofocus`, `<label for="password">New password</label>`)
		if n := strings.Count(b.page.body, token); n != 1 || b.form("/app/reset-password").values.Get("token") != token {
			t.Errorf("the page holds the token %d times, want it in the form alone:\n%s", n, b.page.body)
		}
		b.submit(resetPath, fields("password", s.secret(newPassword)))
		b.want(http.StatusOK, resetPath, "Your password is set", `role="status"`, `href="/app/login"`)
		b.wantNot(`type="password"`)
		if b.cookie() != "" {
			t.Error("setting a password signed in: whoever reads the mail is somebody, but has not said that they want in here")
		}

		if _, err := s.auth.CheckCookie(t.Context(), cookie); !errors.Is(err, auth.ErrSession) {
			t.Errorf("the session of before: %v, want it ended", err)
		}
		elsewhere.get("/app")
		elsewhere.want(http.StatusOK, "/app/login")
		b.signIn("ada@example.com")
		b.want(http.StatusUnauthorized, "/app/login", "E-mail address or password is not right.")
		b.submit("/app/login", fields("email", "ada@example.com", "password", newPassword))
		b.want(http.StatusOK, "/app", "ada@example.com", "editor")
		if u := s.user(t, "ada@example.com"); !u.EmailVerified() {
			t.Error("the mailed link did not prove the address")
		}
	})
}

func TestAskingForALinkSaysTheSameOfEverybody(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		said := map[string]page{}
		for _, address := range []string{"ada@example.com", "bob@example.com"} {
			b := s.browser(t)
			b.get(resetPath)
			said[address] = b.submit(resetPath, fields("email", address))
			b.want(http.StatusOK, resetPath, address)
			if e := s.asked.last(t); e.EntityID != address {
				t.Errorf("asked for %s, want %s", e.EntityID, address)
			}
		}
		known, unknown := said["ada@example.com"], said["bob@example.com"]
		if strings.ReplaceAll(known.body, "ada@", "bob@") != unknown.body || len(known.header) != len(unknown.header) {
			t.Errorf("for an account:\n%v\n%s\nfor none:\n%v\n%s", known.header, known.body, unknown.header, unknown.body)
		}
	})
}

func TestAddressThatIsNoneIsToldAndKept(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.get(resetPath)
		for typed, why := range map[string]string{"": "Enter your e-mail address", "nonsense": "must look like name@example.com",
			`"><script>@example.com`: "must look like name@example.com", strings.Repeat("a", 300) + "@example.com": "e-mail address"} {
			b.submit(resetPath, fields("email", typed))
			b.wantAsking(http.StatusBadRequest, why, `role="alert"`, `aria-describedby="problem" aria-invalid="true" autofocus`, "<title>Error: ")
			b.wantNot("<script>")
			if got := b.form("/app/reset-password").values.Get("email"); got != typed {
				t.Errorf("the form holds %q, want %q", got, typed)
			}
		}
		if n := len(s.asked.requests); n != 0 {
			t.Errorf("%d requests were made", n)
		}
	})
}

func TestRefusedPasswordDoesNotUseTheLinkUp(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		b := s.browser(t)
		path := s.forgot(t, "ada@example.com")
		b.get(path)
		token := b.form("/app/reset-password").values.Get("token")
		for typed, why := range map[string]string{
			"short7!": "The password is too short", "Password1": "The password is too common", "ADA@example.com": "must not be your e-mail",
			strings.Repeat("x", 257): "The password is too long", "": "Enter a password",
		} {
			b.submit(resetPath, fields("password", typed))
			b.want(http.StatusBadRequest, resetPath, why, "Choose a new password", `readonly value="ada@example.com"`, `role="alert"`,
				`aria-describedby="problem password-hint" aria-invalid="true" autofocus`, "<title>Error: ")
			if got := b.form("/app/reset-password").values.Get("token"); got != token {
				t.Errorf("after %q the form has the token %q", typed, got)
			}
		}
		// Whose password it is, the token says, and not the form.
		s.person(t, "eve@example.com")
		b.submit(resetPath, fields("email", "eve@example.com", "password", newPassword))
		b.want(http.StatusOK, resetPath, "Your password is set")
		b.get("/app/login")
		b.submit("/app/login", fields("email", "eve@example.com", "password", newPassword))
		b.want(http.StatusUnauthorized, "/app/login")
		b.submit("/app/login", fields("email", "ada@example.com", "password", newPassword))
		b.want(http.StatusOK, "/app", "ada@example.com")
	})
}

func TestLinkThatIsDeadLeadsToTheFormThatAsksForANewOne(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, name := range []string{"used", "superseded", "expired", "changed", "gone", "good"} {
			s.person(t, name+"@example.com")
		}
		used, superseded, expired, changed, gone, good := s.forgot(t, "used@example.com"), s.forgot(t, "superseded@example.com"),
			s.forgot(t, "expired@example.com"), s.forgot(t, "changed@example.com"), s.forgot(t, "gone@example.com"), s.forgot(t, "good@example.com")
		b := s.browser(t)
		b.get(used)
		b.submit(resetPath, fields("password", newPassword))
		b.want(http.StatusOK, resetPath, "Your password is set")
		s.forgot(t, "superseded@example.com")
		s.expire(t, "expired@example.com")
		l, err := s.link.SignIn(t.Context(), link.ActorUser, "emailpass", credentials("changed@example.com"), auth.Client{})
		if err == nil {
			_, _, err = s.link.ChangePassword(t.Context(), l.Session, "emailpass",
				auth.Input(`{"current_password":"`+password+`","password":"`+newPassword+`"}`))
		}
		if err == nil {
			err = s.users.DeleteUsers(t.Context(), s.user(t, "gone@example.com").ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		_, invite := s.invite(t, "joan@example.com")
		for name, path := range map[string]string{
			"used": used, "superseded": superseded, "expired": expired, "the password was changed": changed, "the account is gone": gone,
			"spoilt": good + "x", "an invite's": resetPath + strings.TrimPrefix(invite, "/app/invite"),
			"nonsense": resetPath + "?token=a.b.c", "markup": resetPath + `?token=<script>alert(1)</script>`, "NUL": resetPath + "?token=%00%ff",
			"unsigned": resetPath + "?token=eyJhbGciOiJub25lIn0.e30.", "too long": resetPath + "?token=" + strings.Repeat("x", 20000),
		} {
			b := s.browser(t)
			b.get(path)
			b.wantAsking(http.StatusBadRequest, deadLink, `role="alert"`)
			b.wantNot("<script>", "%00")
			at, err := url.Parse(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, typed := range []string{newPassword, "short", ""} { // the link is what is wrong, whatever is typed
				b.do("POST", resetPath, form, strings.NewReader(fields("token", at.Query().Get("token"), "password", typed).Encode()))
				if name == "NUL" {
					b.want(http.StatusBadRequest, resetPath, "not well-formed text")
					continue
				}
				b.wantAsking(http.StatusBadRequest, deadLink)
			}
			if b.cookie() != "" {
				t.Errorf("%s: a cookie was set", name)
			}
		}
		b.get(used)
		b.submit(resetPath, fields("email", "used@example.com")) // the way on
		b.want(http.StatusOK, resetPath, "Look into your mailbox")
		b.get(resetPath + "?token=" + s.mailed(t))
		b.submit(resetPath, fields("password", password))
		b.want(http.StatusOK, resetPath, "Your password is set")
	})
}

// expire lets the time of the link that was mailed to the address run out.
func (s *site) expire(t *testing.T, address string) {
	t.Helper()
	err := s.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := s.db.Conn(ctx).NewUpdate().Table("latchkey_one_time_token").Set("expires_at = ?", time.Now().UTC().Add(-time.Second)).
			Where("provider_identity_id = (SELECT id FROM latchkey_provider_identity WHERE entity_id = ?)", address).Exec(ctx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLookingAtALinkDoesNotUseItUp(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		path := s.forgot(t, "ada@example.com")
		b := s.browser(t)
		for range 2 {
			b.do("HEAD", path, "", nil) // as scanners of mails do
			b.want(http.StatusOK, resetPath)
			b.get(path)
			b.want(http.StatusOK, resetPath, "Choose a new password")
		}
		b.submit(resetPath, fields("password", newPassword))
		b.want(http.StatusOK, resetPath, "Your password is set")
		b.do("HEAD", path, "", nil)
		b.want(http.StatusBadRequest, resetPath)
	})
}

func TestSettingAPasswordLeavesSomebodyElseSignedIn(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		s.person(t, "bob@example.com", user.RoleMember)
		b := s.browser(t)
		b.signIn("bob@example.com")
		b.get(s.forgot(t, "ada@example.com"))
		b.submit(resetPath, fields("password", newPassword))
		b.want(http.StatusOK, resetPath, "Your password is set")
		b.get("/app")
		b.want(http.StatusOK, "/app", "bob@example.com")
	})
}

func TestRequestThatCannotBeRecordedIsNotPromisedAMail(t *testing.T) {
	eachWith(t, options{events: failing{}}, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.get(resetPath)
		b.submit(resetPath, fields("email", "ada@example.com"))
		b.want(http.StatusInternalServerError, resetPath, "Something went wrong on our side")
		b.wantNot("disk", "on its way")
	})
}

// shoppers are actors of an application of whom there are none yet.
type shoppers struct{ link.Actors }

func (shoppers) ActorType() string { return "shopper" }

// The mail leads to one page, as whatever type of actor somebody has asked.
func TestAnotherActorTypesPasswordIsSetAnewByTheSameLink(t *testing.T) {
	eachWith(t, options{actors: []link.Actors{shoppers{}}}, func(t *testing.T, s *site) {
		_, err := s.link.SignUp(t.Context(), "shopper", "emailpass", credentials("ada@example.com"), auth.Client{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.link.RequestPasswordReset(t.Context(), auth.ResetRequest{ActorType: "shopper", Provider: "emailpass", EntityID: "ada@example.com"}); err != nil {
			t.Fatal(err)
		}
		b, token := s.browser(t), s.mailed(t)
		b.get(resetPath + "?token=" + token)
		b.want(http.StatusOK, resetPath, "Choose a new password", `readonly value="ada@example.com"`)
		b.submit(resetPath, fields("password", s.secret(newPassword)))
		b.want(http.StatusOK, resetPath, "Your password is set", "Go back to where you came from")
		b.wantNot(`href="/app/login"`) // where they would sign in as a user
		b.get(resetPath + "?token=" + token)
		b.wantAsking(http.StatusBadRequest, deadLink)
		if _, err := s.auth.Authenticate(t.Context(), "emailpass", auth.Input(`{"email":"ada@example.com","password":"`+newPassword+`"}`)); err != nil {
			t.Error(err)
		}
	})
}
