package auth_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
)

// heard keeps the requests for a new password.
type heard struct{ asked []auth.PasswordResetRequested }

func (h *heard) Emit(_ context.Context, events ...event.Event) error {
	for _, e := range events {
		if e, ok := e.(auth.PasswordResetRequested); ok {
			h.asked = append(h.asked, e)
		}
	}
	return nil
}

func TestARequestForANewPasswordIsAnnouncedWhoeverItIsAbout(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		h := new(heard)
		s := newService(t, at.Open(t, auth.Migrations()), auth.Options{}, h)
		for _, entity := range []string{"ada@example.com", "nobody@example.com", "Nobody@Example.COM"} {
			r := auth.ResetRequest{Provider: emailpass.Name, EntityID: entity, ActorType: "user", Metadata: map[string]any{"a": "b"}}
			e, err := s.RequestPasswordReset(t.Context(), r)
			must(t, err)
			if got := h.asked[len(h.asked)-1]; got.EntityID != entity || got.ID != e.ID || got.Provider != emailpass.Name || got.ActorType != "user" || got.Metadata["a"] != "b" || got.At.IsZero() {
				t.Errorf("announced %+v", got)
			}
		}
		for name, c := range map[string]struct {
			request auth.ResetRequest
			want    error
		}{
			"what nobody can have":     {auth.ResetRequest{Provider: emailpass.Name, EntityID: "a\x00b"}, nil},
			"what is no address":       {auth.ResetRequest{Provider: emailpass.Name, EntityID: "my typed Passw0rd!"}, nil},
			"nothing":                  {auth.ResetRequest{Provider: emailpass.Name}, nil},
			"a provider without":       {auth.ResetRequest{Provider: "vouching"}, auth.ErrUnsupported},
			"a provider that is none":  {auth.ResetRequest{Provider: "nope"}, auth.ErrUnknownProvider},
			"too much metadata":        {auth.ResetRequest{Provider: emailpass.Name, Metadata: map[string]any{"a": make([]byte, 16<<10)}}, auth.ErrInput},
			"metadata that is no JSON": {auth.ResetRequest{Provider: emailpass.Name, Metadata: map[string]any{"a": func() {}}}, auth.ErrInput},
		} {
			if _, err := s.RequestPasswordReset(t.Context(), c.request); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		if len(h.asked) != 3 {
			t.Errorf("%d were announced, want 3", len(h.asked))
		}
	})
}

func TestATokenThatCouldNotBeSentInTimeIsSentWithNewTimeForADay(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, auth.Migrations())
		h := house{Service: newService(t, db, auth.Options{}, event.Discard), db: db}
		h.register(t, "ada@example.com", "correct horse")
		e, err := h.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: emailpass.Name, EntityID: "ada@example.com", ActorType: "user"})
		must(t, err)
		first, err := h.CreatePasswordResetToken(t.Context(), e, auth.ByMail)
		must(t, err)
		must(t, db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := db.Conn(ctx).NewRaw("UPDATE latchkey_one_time_token SET expires_at = ?", database.Now().Add(-time.Minute)).Exec(ctx)
			return err
		}))
		if _, err := h.CheckPasswordResetToken(t.Context(), "user", emailpass.Name, first.Token); !errors.Is(err, auth.ErrResetToken) {
			t.Errorf("expired: %v", err)
		}
		again, err := h.CreatePasswordResetToken(t.Context(), e, auth.ByMail)
		must(t, err)
		if left := time.Until(again.ExpiresAt); left < 14*time.Minute || left > 15*time.Minute {
			t.Errorf("sent again, it expires in %v", left)
		}
		if _, err := h.ResetPassword(t.Context(), "user", emailpass.Name, again.Token, input("password", "battery staple")); err != nil {
			t.Errorf("sent again: %v", err)
		}
		e.At = e.At.Add(-25 * time.Hour)
		if _, err := h.CreatePasswordResetToken(t.Context(), e, auth.ByMail); !errors.Is(err, auth.ErrResetToken) {
			t.Errorf("asked for yesterday: %v", err)
		}
	})
}

func TestARequestGivesTheSameTokenOverARotationOfSecrets(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, auth.Migrations())
		before := house{Service: newService(t, db, auth.Options{}, event.Discard, secret(1)), db: db}
		before.register(t, "ada@example.com", "correct horse")
		e, err := before.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: emailpass.Name, EntityID: "ada@example.com", ActorType: "user"})
		must(t, err)
		first, err := before.CreatePasswordResetToken(t.Context(), e, auth.ByMail)
		must(t, err)
		after := newService(t, db, auth.Options{}, event.Discard, secret(2), secret(1))
		again, err := after.CreatePasswordResetToken(t.Context(), e, auth.ByMail)
		must(t, err)
		for name, token := range map[string]string{"of before": first.Token, "of after": again.Token} {
			if _, err := after.CheckPasswordResetToken(t.Context(), "user", emailpass.Name, token); err != nil {
				t.Errorf("the token %s: %v", name, err)
			}
		}
		if _, err := after.ResetPassword(t.Context(), "user", emailpass.Name, first.Token, input("password", "battery staple")); err != nil {
			t.Error(err)
		}
		if _, err := after.CheckPasswordResetToken(t.Context(), "user", emailpass.Name, again.Token); !errors.Is(err, auth.ErrResetToken) {
			t.Errorf("the same token in other words, after it was used: %v", err)
		}
	})
}

// pin knows people by a name and a pin, and takes their word for the address.
type pin struct{}

func (pin) Name() string { return "pin" }

func (pin) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct{ Name, Pin, Email string }
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	kept, err := a.Secret(ctx, in.Name)
	switch {
	case err != nil:
		return auth.Assertion{}, err
	case kept != nil && string(kept) != in.Pin:
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	found := auth.Assertion{EntityID: in.Name, Profile: auth.Profile{Email: in.Email}}
	if kept == nil {
		found.Secret = []byte(in.Pin)
	}
	return found, nil
}

func (pin) Update(_ context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct{ Pin, Email string }
	err := a.Input.Decode(&in)
	return auth.Assertion{EntityID: a.EntityID, Profile: auth.Profile{Email: in.Email}, Secret: []byte(in.Pin)}, err
}

func TestAMailedTokenProvesNoAddressButTheOneItWentTo(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, auth.Migrations())
		s, err := auth.New(auth.Params{DB: db, Keys: ring(t, secret(1)), Providers: []auth.Provider{pin{}}})
		must(t, err)
		for name, c := range map[string]struct {
			meanwhile, said string // the address of a sign-in before the token is used, and of its use
			want            error
			proved          bool
		}{
			"the same":             {"", "eve@example.com", nil, true},
			"none":                 {"", "", nil, false},
			"another":              {"", "ada@example.com", nil, false},
			"another by then":      {"ada@example.com", "ada@example.com", auth.ErrResetToken, false},
			"another in between":   {"ada@example.com", "eve@example.com", auth.ErrResetToken, false},
			"the same, by sign-in": {"eve@example.com", "eve@example.com", nil, true},
		} {
			signIn := func(address string) {
				t.Helper()
				_, err := s.Authenticate(t.Context(), "pin", input("Name", name, "Pin", "1234", "Email", address))
				must(t, err)
			}
			signIn("eve@example.com")
			e, err := s.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: "pin", EntityID: name, ActorType: "user"})
			must(t, err)
			mailed, err := s.CreatePasswordResetToken(t.Context(), e, auth.ByMail)
			must(t, err)
			if c.meanwhile != "" {
				signIn(c.meanwhile)
			}
			i, err := s.ResetPassword(t.Context(), "user", "pin", mailed.Token, input("Pin", "5678", "Email", c.said))
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
			if i.Proved.EmailVerified != c.proved {
				t.Errorf("%s: %q is proved: %t, want %t", name, i.Proved.Email, i.Proved.EmailVerified, c.proved)
			}
		}
	})
}
