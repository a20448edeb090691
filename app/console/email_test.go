package console_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

const (
	emailPath   = "/app/email"
	confirmPath = "/app/email/confirm"
	deadConfirm = "This link was used already, has expired, or is not valid any more."
)

// mailedMove is the path of the link that the mail for the newest request for another address holds.
func (s *site) mailedMove(t *testing.T) (path string) {
	t.Helper()
	if len(s.asked.moves) == 0 {
		t.Fatal("nobody asked for another address")
	}
	made, err := s.auth.CreateEmailChangeToken(t.Context(), s.asked.moves[len(s.asked.moves)-1])
	if err != nil {
		t.Fatal(err)
	}
	return confirmPath + "?token=" + url.QueryEscape(s.secret(made.Token))
}

// askToMove asks for another address by the form.
func (b *browser) askToMove(to string) page {
	b.t.Helper()
	b.get(emailPath)
	return b.submit(emailPath, fields("email", to, "password", password))
}

func TestAddressIsChangedByThePagesAndTheMailedLink(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		ada := s.person(t, "ada@example.com", "editor")
		elsewhere := s.browser(t)
		elsewhere.signIn("ada@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		b.want(http.StatusOK, "/app", `href="/app/email"`)
		b.get(emailPath)
		b.want(http.StatusOK, emailPath, "Change your e-mail address", "<strong>ada@example.com</strong>",
			`name="email" type="email" autocomplete="email" required value="" autofocus`, `name="password" type="password" autocomplete="current-password" required`)
		b.submit(emailPath, fields("email", "Ada@Lovelace.example", "password", s.secret(password)))
		b.want(http.StatusOK, emailPath, "Look into the new mailbox", "<strong>ada@lovelace.example</strong>", `role="status"`)
		b.wantNot(`action="` + emailPath)

		path := s.mailedMove(t)
		for range 2 { // opening it is not confirming it
			b.get(path)
			b.want(http.StatusOK, confirmPath, "Confirm your new e-mail address", "<strong>ada@example.com</strong>", "<strong>ada@lovelace.example</strong>")
		}
		if u := s.user(t, "ada@example.com"); u.ID != ada.ID {
			t.Errorf("the address is that of %s", u.ID)
		}
		b.submit(confirmPath, nil)
		b.want(http.StatusOK, confirmPath, "Your e-mail address has changed", "<strong>ada@lovelace.example</strong>", `role="status"`)
		b.get("/app")
		b.want(http.StatusOK, "/app", "ada@lovelace.example", "editor")
		elsewhere.get("/app")
		elsewhere.want(http.StatusOK, "/app/login")
		if u := s.user(t, "ada@lovelace.example"); u.ID != ada.ID || !u.EmailVerified() {
			t.Errorf("the new address is that of %s, proved: %t", u.ID, u.EmailVerified())
		}
		b.get(path)
		b.want(http.StatusBadRequest, confirmPath, deadConfirm)

		elsewhere.signIn("ada@example.com")
		elsewhere.want(http.StatusUnauthorized, "/app/login", "E-mail address or password is not right.")
		elsewhere.signIn("ada@lovelace.example")
		elsewhere.want(http.StatusOK, "/app", "ada@lovelace.example")
	})
}

func TestLinkForAnAddressThatIsOpenedSignedOutAsksToSignInFirst(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		b.askToMove("new@example.com")
		path := s.mailedMove(t)

		phone := s.browser(t)
		phone.get(path)
		phone.want(http.StatusOK, confirmPath, "Sign in", "sign in as who asked for it")
		phone.wantNot("new@example.com", "ada@example.com", "Confirm the address") // whoever holds the link learns nothing
		phone.submit("/app/login", fields("email", "ada@example.com", "password", "not "+password))
		phone.want(http.StatusUnauthorized, "/app/login", "E-mail address or password is not right.", "sign in as who asked for it")
		phone.submit("/app/login", fields("email", "ada@example.com", "password", password))
		phone.want(http.StatusOK, "/app/login", "Confirm your new e-mail address", "<strong>new@example.com</strong>")
		phone.submit(confirmPath, nil)
		phone.want(http.StatusOK, confirmPath, "Your e-mail address has changed", "<strong>new@example.com</strong>")
		b.get("/app")
		b.want(http.StatusOK, "/app/login")
	})
}

func TestLinkForAnAddressDoesNothingForAnybodyElse(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "attacker@example.com")
		attacker := s.browser(t)
		attacker.signIn("attacker@example.com")
		attacker.askToMove("victim@example.com")
		path := s.mailedMove(t)
		token := strings.TrimPrefix(path, confirmPath+"?token=")

		// The victim, whose mailbox it went to, signs in and opens it.
		victim := s.browser(t)
		victim.get(path)
		victim.wantNot("Confirm the address")
		s.person(t, "victim@example.com") // who comes to be in the meantime
		victim.submit("/app/login", fields("email", "victim@example.com", "password", password))
		victim.want(http.StatusForbidden, "/app/login", "This link belongs to another account")
		victim.wantNot("attacker@example.com", `action="/app/email`)
		victim.do(http.MethodPost, confirmPath, form, strings.NewReader(url.Values{"token": {token}, "as": {"x"}}.Encode()))
		victim.want(http.StatusForbidden, confirmPath, "This link belongs to another account")
		// And the attacker, later.
		attacker.get(path)
		attacker.want(http.StatusBadRequest, confirmPath, deadConfirm)
		if s.user(t, "attacker@example.com").ID == s.user(t, "victim@example.com").ID { // each has their address still
			t.Error("the two are one")
		}
	})
}

func TestAddressIsConfirmedByTheSessionThatTheButtonNamed(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		s.person(t, "eve@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		b.askToMove("new@example.com")
		b.get(s.mailedMove(t))
		shown := b.form(confirmPath).values
		as := b.page.body[strings.Index(b.page.body, `name="as" value="`)+len(`name="as" value="`):]
		as = as[:strings.Index(as, `"`)]
		b.signIn("ada@example.com") // again: another session
		b.do(http.MethodPost, confirmPath, form, strings.NewReader(url.Values{"token": shown["token"], "as": {as}}.Encode()))
		b.want(http.StatusConflict, confirmPath, "Who is signed in here has changed meanwhile", "Confirm the address")
		b.submit(confirmPath, nil)
		b.want(http.StatusOK, confirmPath, "Your e-mail address has changed")
	})
}

func TestFormForAnotherAddressSaysWhatIsWrongAndNothingOfOthers(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		s.person(t, "bob@example.com")
		b := s.browser(t)
		b.get(emailPath)
		b.want(http.StatusOK, "/app/login")
		b.signIn("ada@example.com")
		for _, c := range []struct {
			typed, secret, why, field string
			status                    int
		}{
			{"", password, "Enter your e-mail address", `id="email"`, http.StatusBadRequest},
			{"nonsense", password, "must look like name@example.com", `id="email"`, http.StatusBadRequest},
			{"ADA@example.com", password, "This is your e-mail address already", `id="email"`, http.StatusBadRequest},
			{"new@example.com", "not " + password, "The password is not right", `id="password"`, http.StatusUnauthorized},
			{"new@example.com", "", "Enter a password", `id="password"`, http.StatusBadRequest},
		} {
			b.get(emailPath)
			b.submit(emailPath, fields("email", c.typed, "password", c.secret))
			b.want(c.status, emailPath, c.why, `role="alert"`, "<title>Error: ", `aria-describedby="problem" aria-invalid="true" autofocus`)
			if got := b.form(emailPath).values.Get("email"); got != c.typed {
				t.Errorf("the form holds %q, want %q", got, c.typed)
			}
			at := strings.Index(b.page.body, c.field)
			if line, _, _ := strings.Cut(b.page.body[max(at, 0):], "\n"); !strings.Contains(line, "aria-invalid") {
				t.Errorf("%q: the mark is not on %s:\n%s", c.typed, c.field, b.page.body)
			}
		}
		if n := len(s.asked.moves); n != 0 {
			t.Errorf("%d requests were made", n)
		}
		free, taken := b.askToMove("eve@example.com"), b.askToMove("bob@example.com")
		if strings.ReplaceAll(free.body, "eve@", "bob@") != taken.body || free.status != taken.status || len(free.header) != len(taken.header) {
			t.Errorf("free:\n%s\ntaken:\n%s", free.body, taken.body)
		}
		// Only who has opened the link learns it.
		b.get(s.mailedMove(t))
		b.submit(confirmPath, nil)
		b.want(http.StatusUnprocessableEntity, confirmPath, "Another account has this address", "Confirm the address")
	})
}

func TestWhoHasNoAccountHasNoAddressToChange(t *testing.T) {
	eachWith(t, options{policy: link.Manual{}}, func(t *testing.T, s *site) {
		s.register(t, "ada@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		b.wantNot(`href="/app/email"`)
		b.get(emailPath)
		b.want(http.StatusOK, "/app", "there is no account for you yet")
		b.get(confirmPath)
		b.want(http.StatusBadRequest, confirmPath, deadConfirm)
	})
}

func TestDeadLinksForAnAddress(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		ada := s.person(t, "ada@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		b.askToMove("first@example.com")
		first := s.mailedMove(t)
		b.askToMove("second@example.com")
		second := s.mailedMove(t)
		reset := s.forgot(t, "ada@example.com")
		for name, path := range map[string]string{"superseded": first, "none": confirmPath, "nonsense": confirmPath + "?token=nonsense",
			"a reset token": strings.Replace(reset, resetPath, confirmPath, 1)} {
			b.get(path)
			if b.page.status != http.StatusBadRequest || !strings.Contains(b.page.body, deadConfirm) {
				t.Errorf("%s: %d\n%s", name, b.page.status, b.page.body)
			}
		}
		b.get(second)
		if err := s.users.DeactivateUsers(t.Context(), ada.ID); err != nil {
			t.Fatal(err)
		}
		b.submit(confirmPath, nil)
		b.want(http.StatusOK, confirmPath, "Sign in")
		if _, err := s.users.FindUser(t.Context(), "second@example.com"); !errors.Is(err, user.ErrNotFound) {
			t.Errorf("the address: %v", err)
		}
		if _, err := s.auth.CreateEmailChangeToken(t.Context(), s.asked.moves[1]); !errors.Is(err, auth.ErrEmailChange) {
			t.Errorf("the mail: %v", err)
		}
	})
}
