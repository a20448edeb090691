package auth_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
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

// What a provider keeps is of no use to who reads the table, or writes in it, and lasts while the secret does that it was kept under.
func TestWhatAProviderKeepsBetweenTwoStepsIsSealed(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		h := newHouse(t, at.Open(t, auth.Migrations()), auth.Options{})
		const verifier = "PKCE's verifier, which with the code finishes it"
		f, other := h.begin(t, "oidc", input("keep", verifier)), h.begin(t, "oidc", input("keep", verifier))
		var rows []struct {
			IDHash string
			State  []byte
		}
		must(t, h.db.Conn(t.Context()).NewSelect().Table("latchkey_auth_flow").Column("id_hash", "state").Scan(t.Context(), &rows))
		if len(rows) != 2 || bytes.Equal(rows[0].State, rows[1].State) {
			t.Fatalf("%d rows, with one state", len(rows))
		}
		for _, row := range rows {
			if bytes.Contains(row.State, []byte(verifier[:16])) {
				t.Errorf("the table has %q", row.State)
			}
		}
		dropped := newHouse(t, h.db, auth.Options{}, secret(2))
		if _, err := dropped.Finish(t.Context(), "oidc", comeBack(other, "good")); !errors.Is(err, auth.ErrFlow) {
			t.Errorf("after its secret was dropped: %v, want ErrFlow", err)
		}
		rotated := newHouse(t, h.db, auth.Options{}, secret(2), secret(1))
		if ada, err := rotated.ValidateCallback(t.Context(), "oidc", comeBack(f, "good")); err != nil || ada.Proved.Profile.Metadata["state"] != verifier {
			t.Errorf("after a new secret came in front: %+v, %v", ada, err)
		}

		mine, theirs := h.begin(t, "oidc", input("keep", "mine")), h.begin(t, "oidc", input("keep", "theirs"))
		must(t, h.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := h.db.Conn(ctx).NewRaw("UPDATE latchkey_auth_flow SET state = (SELECT state FROM latchkey_auth_flow WHERE id_hash = ?) WHERE id_hash = ?",
				hashOf(theirs.ID), hashOf(mine.ID)).Exec(ctx)
			return err
		}))
		if _, err := h.Finish(t.Context(), "oidc", comeBack(mine, "good")); !errors.Is(err, auth.ErrFlow) {
			t.Errorf("with what another flow keeps: %v, want ErrFlow", err)
		}
	})
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func TestABoundFlowIsFinishedByWhoItIsBoundTo(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		mine, _, _ := h.open(t, ada, "user")
		other, _, _ := h.open(t, ada, "user")
		again, err := h.ProveAgain(t.Context(), mine, input("password", "correct horse"))
		must(t, err)
		for what, c := range map[string]struct {
			bound auth.Binding
			back  auth.Return
			let   bool
		}{
			"as another actor":                {auth.Binding{ActorType: "user", Portable: true}, auth.Return{ActorType: "customer"}, false},
			"in its browser":                  {auth.Binding{Browser: "b"}, auth.Return{Browser: "b"}, true},
			"in another browser":              {auth.Binding{Browser: "b"}, auth.Return{Browser: "c"}, false},
			"in none":                         {auth.Binding{Browser: "b"}, auth.Return{}, false},
			"in none, portable":               {auth.Binding{Browser: "b", Portable: true}, auth.Return{}, true},
			"in another, portable":            {auth.Binding{Browser: "b", Portable: true}, auth.Return{Browser: "c"}, false},
			"bound to nothing, and in none":   {auth.Binding{}, auth.Return{}, false},
			"in its session":                  {auth.Binding{Portable: true, Session: mine, Again: again}, auth.Return{Sessions: []auth.Session{other, mine}}, true},
			"in another session":              {auth.Binding{Portable: true, Session: mine, Again: again}, auth.Return{Sessions: []auth.Session{other}}, false},
			"in no session":                   {auth.Binding{Portable: true, Session: mine, Again: again}, auth.Return{}, false},
			"to sign in, by who is signed in": {auth.Binding{Portable: true}, auth.Return{Sessions: []auth.Session{mine}}, true},
		} {
			c.bound.ReturnTo = "/there"
			flow, err := h.BeginBound(t.Context(), "oidc", nil, c.bound)
			must(t, err)
			f, err := h.FinishBound(t.Context(), "oidc", comeBack(flow, "good"), c.back)
			if (err == nil) != c.let || !c.let && !errors.Is(err, auth.ErrFlow) {
				t.Errorf("%s: %v", what, err)
			}
			if c.let != (f.ReturnTo == "/there") || c.let && f.Session.ID != c.bound.Session.ID {
				t.Errorf("%s: %+v", what, f)
			}
		}

		// With an error in place of a proof the flow ends; only who it is bound to can end it.
		flow, err := h.BeginBound(t.Context(), "oidc", nil, auth.Binding{Browser: "b", ReturnTo: "/there"})
		must(t, err)
		declined := input("state", flow.ID, "error", "access_denied", "code", "good")
		if _, err := h.FinishBound(t.Context(), "oidc", declined, auth.Return{Browser: "c"}); !errors.Is(err, auth.ErrFlow) {
			t.Errorf("declined elsewhere: %v", err)
		}
		if f, err := h.FinishBound(t.Context(), "oidc", declined, auth.Return{Browser: "b"}); !errors.Is(err, auth.ErrDeclined) || f.ReturnTo != "/there" {
			t.Errorf("declined: %v", err)
		}
		if _, err := h.FinishBound(t.Context(), "oidc", comeBack(flow, "good"), auth.Return{Browser: "b"}); !errors.Is(err, auth.ErrFlow) {
			t.Errorf("after it was declined: %v", err)
		}
		if _, err := h.BeginBound(t.Context(), "oidc", nil, auth.Binding{Session: other, Again: again}); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("begun in a session in which nothing was proved again: %v", err)
		}
	})
}

// What was brought back is used up, so the proof is held against what is stored now where that has changed meanwhile.
func TestAProofOfTwoStepsIsRenewed(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		old, err := h.Finish(t.Context(), "oidc", comeBack(h.begin(t, "oidc", nil), "good"))
		must(t, err)
		ada, err := h.ValidateCallback(t.Context(), "oidc", comeBack(h.begin(t, "oidc", nil), "good"))
		must(t, err)
		must(t, h.DeleteAuthIdentities(t.Context(), ada.ID))
		ada, err = h.ValidateCallback(t.Context(), "oidc", comeBack(h.begin(t, "oidc", nil), "good"))
		must(t, err)
		now, err := h.Renew(t.Context(), old)
		if err != nil || now.Identity() != ada.ID || old.Identity() != "" {
			t.Errorf("renewed: %v, of %q", err, now.Identity())
		}
		if i, err := h.Admit(t.Context(), now); err != nil || i.ID != ada.ID {
			t.Errorf("admitted: %v, %q", err, i.ID)
		}
	})
}
