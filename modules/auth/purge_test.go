package auth_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// age moves times of every row of a table into the past.
func (h house) age(t testing.TB, table string, by time.Duration, columns ...string) {
	t.Helper()
	must(t, h.db.InTx(t.Context(), func(ctx context.Context) error {
		row := "ctid"
		if h.db.Dialect() == database.SQLite {
			row = "rowid"
		}
		for _, column := range columns {
			var rows []struct {
				Row string
				At  time.Time
			}
			err := h.db.Conn(ctx).NewSelect().TableExpr("latchkey_"+table).ColumnExpr("CAST("+row+" AS text) AS row").ColumnExpr(column+" AS at").
				Where(column+" IS NOT NULL").Scan(ctx, &rows)
			if err != nil {
				return err
			}
			for _, r := range rows {
				_, err := h.db.Conn(ctx).NewUpdate().TableExpr("latchkey_"+table).Set(column+" = ?", r.At.UTC().Add(-by)).
					Where("CAST("+row+" AS text) = ?", r.Row).Exec(ctx)
				if err != nil {
					return err
				}
			}
		}
		return nil
	}))
}

func TestSessionsArePurgedWhenTheyHaveExpiredAndNotBefore(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		for range 7 {
			h.open(t, ada, "user")
		}
		for _, step := range []struct {
			older time.Duration
			want  int
		}{{0, 0}, {30*24*time.Hour - time.Minute, 0}, {30 * time.Minute, 0}, {time.Hour, 7}} {
			h.age(t, "auth_session", step.older, "expires_at")
			purged := 0
			for {
				n, err := h.PurgeSessions(t.Context(), 3)
				must(t, err)
				if n > 3 {
					t.Fatalf("%d in a batch of 3", n)
				}
				if purged += n; n == 0 {
					break
				}
			}
			if purged != step.want {
				t.Errorf("%v older: %d sessions, want %d", step.older, purged, step.want)
			}
		}
	})
}

func TestFlowsThatNobodyFinishedArePurged(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		h.begin(t, "oidc", nil)
		if n, err := h.PurgeFlows(t.Context(), 10); n != 0 || err != nil {
			t.Errorf("a fresh one: %d, %v", n, err)
		}
		h.age(t, "auth_flow", 3*time.Hour, "expires_at")
		if n, err := h.PurgeFlows(t.Context(), 10); n != 1 || err != nil {
			t.Errorf("an old one: %d, %v", n, err)
		}
	})
}

// The row of a used token keeps a mail that is delivered once more from making the link good again.
func TestAPurgedTokenComesBackByNoMail(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		h.register(t, "ada@example.com", "correct horse")
		for _, hours := range []int{0, 23, 25, 47, 49, 100} {
			old := time.Duration(hours) * time.Hour
			e, err := h.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: emailpass.Name, EntityID: "ada@example.com", ActorType: "user"})
			must(t, err)
			made, err := h.CreatePasswordResetToken(t.Context(), e, auth.ByMail)
			must(t, err)
			_, err = h.ResetPassword(t.Context(), "user", emailpass.Name, made.Token, input("password", "battery staple"))
			must(t, err)
			e.At = e.At.Add(-old) // all of it was so long ago
			h.age(t, "one_time_token", old, "issued_at", "expires_at", "spent_at")
			n, err := h.PurgeOneTimeTokens(t.Context(), 10)
			must(t, err)
			if want := hours > 48; (n == 1) != want {
				t.Errorf("after %d hours %d tokens are purged", hours, n)
			}
			if again, err := h.CreatePasswordResetToken(t.Context(), e, auth.ByMail); !errors.Is(err, auth.ErrResetToken) {
				t.Errorf("after %d hours the mail makes %v again: %v", hours, again, err)
			}
		}
	})
}

func TestAChangeOfAddressIsPurgedWhenItCanBeConfirmedNoMore(t *testing.T) {
	for _, sent := range []bool{true, false} {
		each(t, func(t *testing.T, h house) {
			ada := h.register(t, "ada@example.com", "correct horse")
			session, _, _ := h.open(t, ada, "user")
			again, err := h.ProveAgain(t.Context(), session, input("password", "correct horse"))
			must(t, err)
			e, err := h.RequestEmailChange(t.Context(), session, again, "ada@example.com", "ada@lovelace.example")
			must(t, err)
			if sent {
				_, err = h.CreateEmailChangeToken(t.Context(), e)
				must(t, err)
			}
			h.age(t, "email_change", 47*time.Hour, "issued_at", "expires_at")
			if n, err := h.PurgeEmailChanges(t.Context(), 10); n != 0 || err != nil {
				t.Errorf("sent=%t, after 47 hours: %d, %v", sent, n, err)
			}
			h.age(t, "email_change", 2*time.Hour, "issued_at", "expires_at")
			if n, err := h.PurgeEmailChanges(t.Context(), 10); n != 1 || err != nil {
				t.Errorf("sent=%t, after 49 hours: %d, %v", sent, n, err)
			}
		})
	}
}

// Nodes purge at the same time, and people sign in meanwhile: every expired row goes once, and no other.
func TestSeveralPurgeAtOnceAndHarmNobody(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		for range 60 {
			h.open(t, ada, "user")
		}
		h.age(t, "auth_session", 31*24*time.Hour, "expires_at")
		purged := make([]int, 4)
		for i, err := range databasetest.Together(8, func(i int) error {
			if i >= 4 {
				for range 5 {
					found, err := h.signIn(t.Context(), "ada@example.com", "correct horse")
					if err != nil {
						return err
					}
					if _, err := h.OpenSession(t.Context(), found, "user", auth.Client{}); err != nil {
						return err
					}
				}
				return nil
			}
			for {
				n, err := h.PurgeSessions(t.Context(), 7)
				if purged[i] += n; err != nil || n == 0 {
					return err
				}
			}
		}) {
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		// Who passes over the rows of others may find none left; what is left then goes now.
		n, err := h.PurgeSessions(t.Context(), 1000)
		must(t, err)
		for _, some := range purged {
			n += some
		}
		if left := h.count(t, "auth_session"); n != 60 || left != 20 {
			t.Errorf("%d were purged and %d are left, want 60 and 20", n, left)
		}
	})
}

func TestHoldUnusedSeesWhatKeepsAnIdentity(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		now := time.Now().Add(time.Minute)
		unused := func() (unused bool) {
			must(t, h.db.InTx(t.Context(), func(ctx context.Context) (err error) {
				unused, err = h.HoldUnused(ctx, ada.ID, now)
				return err
			}))
			return unused
		}
		if !unused() {
			t.Error("one without anything is in use")
		}
		h.age(t, "auth_identity", -time.Hour, "created_at")
		if unused() {
			t.Error("a newer one is unused")
		}
		h.age(t, "auth_identity", 2*time.Hour, "created_at")
		h.open(t, ada, "user")
		if !unused() {
			t.Error("one whose session was not used since is in use")
		}
		h.age(t, "auth_session", -time.Hour, "last_used_at")
		if unused() {
			t.Error("one whose session was used since is unused")
		}
		must(t, h.EndSessions(t.Context(), ada.ID, "", ""))
		if !slices.Contains(topics(h.events), "auth.sessions.ended") {
			t.Error("that sessions were ended was not announced")
		}
		_, err := h.UpdateAuthIdentities(t.Context(), planned(ada.ID, "gold"))
		must(t, err)
		if unused() {
			t.Error("one with metadata of the application is unused")
		}
	})
}

func topics(r *recorder) (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.seen {
		all = append(all, e.Topic())
	}
	return all
}
