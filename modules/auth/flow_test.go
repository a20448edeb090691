package auth_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func (h house) begin(t testing.TB, provider string, in auth.Input) auth.Flow {
	t.Helper()
	f, err := h.Begin(t.Context(), provider, in)
	if err != nil {
		t.Fatalf("begin %s: %v", provider, err)
	}
	return f
}

func comeBack(f auth.Flow, code string) auth.Input { return input("state", f.ID, "code", code) }

func TestWhatAProviderKeepsBetweenTwoStepsComesBack(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		for _, in := range []auth.Input{input("keep", "nonce \x01 and verifier"), input("keep", ""), nil} {
			f := h.begin(t, "oidc", in)
			if f.RedirectURL != "https://id.example.com/?state="+f.ID || len(f.ID) < 26 || !f.ExpiresAt.After(time.Now()) {
				t.Errorf("begun: %+v", f)
			}
			ada, err := h.ValidateCallback(t.Context(), "oidc", comeBack(f, "good"))
			if err != nil {
				t.Errorf("after beginning with %s: %v", in, err)
				continue
			}
			if want := map[bool]string{true: "nonce \x01 and verifier"}[len(in) > 20]; ada.Proved.Profile.Metadata["state"] != want || ada.EntityID() != "ada" {
				t.Errorf("after beginning with %s: %+v, want the state %q", in, ada.Proved, want)
			}
		}
	})
}

func TestAFlowIsFinishedOnceByWhoItWasBegunFor(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		f := h.begin(t, "oidc", nil)
		refused := func(what, provider string, in auth.Input, want error) {
			t.Helper()
			if proof, err := h.Finish(t.Context(), provider, in); !errors.Is(err, want) || !errors.Is(err, auth.ErrInvalidCredentials) || proof.Identity() != "" {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		refused("an unknown state", "oidc", input("state", strings.Repeat("A", 26), "code", "good"), auth.ErrFlow)
		refused("no state", "oidc", input("code", "good"), auth.ErrFlow)
		refused("another provider's state", "mail-link", comeBack(f, "good"), auth.ErrFlow)
		if _, err := h.Finish(t.Context(), "oidc", input("state", 1, "code", "good")); !errors.Is(err, auth.ErrInput) {
			t.Errorf("a state of another type: %v, want ErrInput", err)
		}
		if _, err := h.Finish(t.Context(), "oidc", comeBack(f, "good")); err != nil {
			t.Errorf("the right one, after the attempts of others: %v", err)
		}
		refused("the same once more", "oidc", comeBack(f, "good"), auth.ErrFlow)

		f = h.begin(t, "oidc", nil)
		refused("a bad code", "oidc", comeBack(f, "bad"), auth.ErrInvalidCredentials)
		refused("a good code after a bad one", "oidc", comeBack(f, "good"), auth.ErrFlow)
		if n := h.count(t, "auth_flow"); n != 0 {
			t.Errorf("%d flows are left, want none", n)
		}
	})
}

func TestOfManyWhoFinishOneFlowOneIsLetIn(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		f := h.begin(t, "oidc", nil)
		in := 0
		for i, err := range databasetest.Together(10, func(int) error {
			_, err := h.ValidateCallback(t.Context(), "oidc", comeBack(f, "good"))
			return err
		}) {
			switch {
			case err == nil:
				in++
			case !errors.Is(err, auth.ErrFlow):
				t.Errorf("caller %d: %v, want ErrFlow", i, err)
			}
		}
		if in != 1 {
			t.Errorf("%d are let in, want one", in)
		}
	})
}

func TestAFlowExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := onSQLite(t, auth.Options{})
		late, intime := h.begin(t, "oidc", nil), h.begin(t, "oidc", nil)
		time.Sleep(time.Until(intime.ExpiresAt) - time.Millisecond)
		if _, err := h.Finish(t.Context(), "oidc", comeBack(intime, "good")); err != nil {
			t.Errorf("just before the end: %v", err)
		}
		time.Sleep(time.Millisecond)
		if _, err := h.Finish(t.Context(), "oidc", comeBack(late, "good")); !errors.Is(err, auth.ErrFlow) {
			t.Errorf("at the end: %v, want ErrFlow", err)
		}
	})
}

// What the table of flows holds must not be enough to finish one.
func TestTheStateOfAFlowIsNotKept(t *testing.T) {
	h := onSQLite(t, auth.Options{})
	f := h.begin(t, "oidc", input("keep", "nonce"))
	var kept string
	if err := h.db.Conn(t.Context()).NewSelect().Table("latchkey_auth_flow").Column("id_hash").Scan(t.Context(), &kept); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(kept, f.ID) {
		t.Errorf("kept is %q", kept)
	}
	if _, err := h.Finish(t.Context(), "oidc", input("state", kept, "code", "good")); !errors.Is(err, auth.ErrFlow) {
		t.Errorf("what is kept finishes the flow: %v", err)
	}
}
