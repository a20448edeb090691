package auth_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// open starts a session and returns both its faces.
func (h house) open(t testing.TB, i auth.Identity, actorType string) (s auth.Session, token, cookie string) {
	t.Helper()
	s, err := h.OpenSession(t.Context(), i, actorType, auth.Client{UserAgent: "test", IP: "192.0.2.1"})
	if err == nil {
		token, err = h.Token(s, i, auth.Actor{ID: "user_1"})
	}
	if err == nil {
		cookie, err = h.SetCookie(t.Context(), s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, token, cookie
}

// opens checks both faces of a session. A nil error is what must happen.
func (h house) opens(t testing.TB, what, token, cookie string, wantToken, wantCookie error) {
	t.Helper()
	if token != "" {
		if _, _, err := h.CheckToken(t.Context(), token); !errors.Is(err, wantToken) || err != nil && wantToken == nil {
			t.Errorf("%s, the token: %v, want %v", what, err, wantToken)
		}
	}
	if cookie != "" {
		if _, err := h.CheckCookie(t.Context(), cookie); !errors.Is(err, wantCookie) || err != nil && wantCookie == nil {
			t.Errorf("%s, the cookie: %v, want %v", what, err, wantCookie)
		}
	}
}

func TestTokenAndCookieAreTwoFacesOfOneSession(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		s, token, cookie := h.open(t, ada, "user")
		for range 2 { // from the database, then from the cache
			claims, byToken, err := h.CheckToken(t.Context(), token)
			must(t, err)
			byCookie, err := h.CheckCookie(t.Context(), cookie)
			must(t, err)
			if byToken != byCookie || byToken.ID != s.ID || byToken.IdentityID != ada.ID || byToken.ActorType != "user" || byToken.Provider != "emailpass" ||
				byToken.UserAgent != "test" || byToken.IP != "192.0.2.1" {
				t.Errorf("by token %+v\nby cookie %+v\nwant session %s of %s", byToken, byCookie, s.ID, ada.ID)
			}
			if claims.SessionID != s.ID || claims.ActorID != "user_1" || claims.AuthIdentityID != ada.ID {
				t.Errorf("claims %+v", claims)
			}
		}
		must(t, h.db.InTx(t.Context(), func(ctx context.Context) error { return h.HoldSession(ctx, s) }))
	})
}

func TestWhatEndsASessionEndsItAtOnceHereAndWithinASecondElsewhere(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		h := newHouse(t, at.Open(t, auth.Migrations()), auth.Options{})
		elsewhere := newHouse(t, at.Open(t), auth.Options{}) // another node
		eve := h.register(t, "eve@example.com", "correct horse")
		_, tokenOfEve, cookieOfEve := h.open(t, eve, "user")
		type faces struct{ what, token, cookie string }
		var ended []faces
		for what, end := range map[string]func(email string, s auth.Session) error{
			"EndSession":  func(_ string, s auth.Session) error { return h.EndSession(t.Context(), s.ID) },
			"EndSessions": func(_ string, s auth.Session) error { return h.EndSessions(t.Context(), s.IdentityID, "user", "") },
			"EndSessionOf": func(_ string, s auth.Session) error {
				_, err := h.EndSessionOf(t.Context(), s.IdentityID, s.ID, auth.EndedByOwner)
				return err
			},
			"EndOtherSessions": func(email string, _ auth.Session) error {
				again, err := h.signIn(t.Context(), email, "correct horse")
				must(t, err)
				own, _, cookie := h.open(t, again, "user")
				now, _, err := h.EndOtherSessions(t.Context(), own)
				must(t, err)
				h.opens(t, "EndOtherSessions, what the one it was asked in had", "", cookie, nil, auth.ErrSession)
				fresh, err := h.SetCookie(t.Context(), now)
				h.opens(t, "EndOtherSessions, the one it was asked in", "", fresh, nil, nil)
				return err
			},
			"EndAllSessions": func(_ string, s auth.Session) error {
				_, err := h.EndAllSessions(t.Context(), s.IdentityID, auth.EndedByOperator)
				return err
			},
			"Revoke":               func(_ string, s auth.Session) error { return h.Revoke(t.Context(), s.IdentityID) },
			"DeleteAuthIdentities": func(_ string, s auth.Session) error { return h.DeleteAuthIdentities(t.Context(), s.IdentityID) },
			"DeleteProviderIdentities": func(_ string, s auth.Session) error {
				way, err := h.CreateProviderIdentities(t.Context(), vouched(s.IdentityID, "voucher"))
				must(t, err)
				return h.DeleteProviderIdentities(t.Context(), way[0].ID)
			},
			"UpdateProvider": func(email string, _ auth.Session) error { h.reset(t, email, "battery staple"); return nil },
		} {
			email := strings.ToLower(what) + "@example.com"
			s, token, cookie := h.open(t, h.register(t, email, "correct horse"), "user")
			for _, node := range []house{h, elsewhere} {
				node.opens(t, what+", before", token, cookie, nil, nil)
				node.opens(t, what+", Eve before", tokenOfEve, cookieOfEve, nil, nil)
			}
			must(t, end(email, s))
			h.opens(t, what+", at once", token, cookie, auth.ErrSession, auth.ErrSession)
			h.opens(t, what+", Eve", tokenOfEve, cookieOfEve, nil, nil)
			ended = append(ended, faces{what, token, cookie})
		}
		time.Sleep(time.Second + 10*time.Millisecond)
		for _, f := range ended {
			elsewhere.opens(t, f.what+", a second later, on another node", f.token, f.cookie, auth.ErrSession, auth.ErrSession)
		}
		elsewhere.opens(t, "Eve, on another node", tokenOfEve, cookieOfEve, nil, nil)
	})
}

func TestASessionThatIsNotThereCannotBeUsed(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		s, _, _ := h.open(t, h.register(t, "ada@example.com", "correct horse"), "user")
		must(t, h.EndSession(t.Context(), s.ID))
		if err := h.EndSession(t.Context(), s.ID); !errors.Is(err, auth.ErrSession) {
			t.Errorf("end it again: %v, want ErrSession", err)
		}
		if _, err := h.SetCookie(t.Context(), s); !errors.Is(err, auth.ErrSession) {
			t.Errorf("a cookie for it: %v, want ErrSession", err)
		}
		err := h.db.InTx(t.Context(), func(ctx context.Context) error { return h.HoldSession(ctx, s) })
		if !errors.Is(err, auth.ErrSession) {
			t.Errorf("hold it: %v, want ErrSession", err)
		}
		for _, cookie := range []string{"", "nonsense", "\x00", "' OR 1=1 --", strings.Repeat("x", 100_000)} {
			if _, err := h.CheckCookie(t.Context(), cookie); !errors.Is(err, auth.ErrSession) {
				t.Errorf("the cookie %.10q: %v, want ErrSession", cookie, err)
			}
		}
	})
}

func TestARolledBackEndEndsNothing(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		s, token, cookie := h.open(t, h.register(t, "ada@example.com", "correct horse"), "user")
		broken := errors.New("changed my mind")
		err := h.db.InTx(t.Context(), func(ctx context.Context) error {
			if err := h.EndSession(ctx, s.ID); err != nil {
				return err
			}
			return broken
		})
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
		h.opens(t, "after the rollback", token, cookie, nil, nil)
	})
}

func TestANewCookieReplacesTheOneBefore(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		s, token, first := h.open(t, h.register(t, "ada@example.com", "correct horse"), "user")
		h.opens(t, "the first", token, first, nil, nil)
		second, err := h.SetCookie(t.Context(), s)
		must(t, err)
		if first == second || len(second) < 52 {
			t.Errorf("cookies %q and %q: want two of 256 bits", first, second)
		}
		h.opens(t, "the one before", token, first, nil, auth.ErrSession)
		h.opens(t, "the new one", token, second, nil, nil)
		var kept string
		must(t, h.db.Conn(t.Context()).NewSelect().Table("latchkey_auth_session").Column("secret_hash").Scan(t.Context(), &kept))
		h.opens(t, "what is kept of it", "", kept, nil, auth.ErrSession)
	})
}

func TestEndSessionsEndsThoseOfOneActorTypeAndSparesOne(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		own, ownToken, ownCookie := h.open(t, ada, "user")
		_, other, otherCookie := h.open(t, ada, "user")
		_, customer, customerCookie := h.open(t, ada, "customer")
		h.opens(t, "before", customer, customerCookie, nil, nil)
		must(t, h.EndSessions(t.Context(), ada.ID, "user", own.ID))
		h.opens(t, "the caller's own", ownToken, ownCookie, nil, nil)
		h.opens(t, "the other one", other, otherCookie, auth.ErrSession, auth.ErrSession)
		h.opens(t, "as a customer", customer, customerCookie, nil, nil)
		must(t, h.EndSessions(t.Context(), ada.ID, "", own.ID))
		h.opens(t, "the caller's own, of all", ownToken, ownCookie, nil, nil)
		h.opens(t, "as a customer, of all", customer, customerCookie, auth.ErrSession, auth.ErrSession)
	})
}

func TestSignInsAndLinksOfOthersLeaveSessionsAlone(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		_, token, cookie := h.open(t, ada, "user")
		_, err := h.signIn(t.Context(), "ada@example.com", "correct horse")
		must(t, err)
		if _, err := h.signIn(t.Context(), "ada@example.com", "wrong horse"); err == nil {
			t.Error("the wrong password is let in")
		}
		must(t, h.VerifyEmail(t.Context(), ada.ID, "ada@example.com"))
		h.opens(t, "afterwards", token, cookie, nil, nil)
	})
}

func TestACookieThatIsNotUsedDiesBeforeItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := onSQLite(t, auth.Options{})
		ada := h.register(t, "ada@example.com", "correct horse")
		s, _, cookie := h.open(t, ada, "user")
		for range 4 {
			time.Sleep(11 * time.Hour)
			h.opens(t, "used every eleven hours", "", cookie, nil, nil)
		}
		time.Sleep(12*time.Hour + time.Second)
		h.opens(t, "after twelve hours", "", cookie, nil, auth.ErrSession)
		h.opens(t, "and still", "", cookie, nil, auth.ErrSession)
		token, err := h.Token(s, ada, auth.Actor{})
		must(t, err)
		h.opens(t, "the session itself", token, "", nil, nil)
	})
}

func TestASessionEndsHoweverOftenItIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := onSQLite(t, auth.Options{SessionTTL: 20 * time.Hour})
		ada := h.register(t, "ada@example.com", "correct horse")
		s, token, cookie := h.open(t, ada, "user")
		time.Sleep(10 * time.Hour)
		h.opens(t, "half way", token, cookie, nil, nil)
		claims, _, err := h.CheckToken(t.Context(), token)
		if must(t, err); claims.ExpiresAt != s.ExpiresAt.Unix() {
			t.Errorf("the token lives until %d, its session until %d", claims.ExpiresAt, s.ExpiresAt.Unix())
		}
		time.Sleep(time.Until(s.ExpiresAt) - 100*time.Millisecond)
		h.opens(t, "just before the end", "", cookie, nil, nil) // now it is in the cache
		time.Sleep(100 * time.Millisecond)
		h.opens(t, "at the end", token, cookie, auth.ErrToken, auth.ErrSession) // the token says itself when it ends
		fresh, err := h.Token(s, ada, auth.Actor{})
		must(t, err)
		if _, _, err := h.CheckToken(t.Context(), fresh); err == nil {
			t.Error("a token made for a session that is over is accepted")
		}
		err = h.db.InTx(t.Context(), func(ctx context.Context) error { return h.HoldSession(ctx, s) })
		if !errors.Is(err, auth.ErrSession) {
			t.Errorf("hold it: %v, want ErrSession", err)
		}
	})
}

func TestATokenEndsBeforeItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := onSQLite(t, auth.Options{TokenTTL: time.Hour})
		_, token, cookie := h.open(t, h.register(t, "ada@example.com", "correct horse"), "user")
		time.Sleep(time.Hour - time.Second)
		h.opens(t, "just before the end", token, cookie, nil, nil)
		time.Sleep(time.Second)
		h.opens(t, "at the end", token, cookie, auth.ErrToken, nil)
	})
}

func TestLastUseIsWrittenAtMostOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := onSQLite(t, auth.Options{})
		s, token, _ := h.open(t, h.register(t, "ada@example.com", "correct horse"), "user")
		for _, step := range []struct{ sleep, want time.Duration }{
			{59 * time.Second, 0}, {2 * time.Second, 61 * time.Second}, {30 * time.Second, 61 * time.Second}, {time.Minute, 151 * time.Second},
		} {
			time.Sleep(step.sleep)
			h.opens(t, "used", token, "", nil, nil)
			_, now, err := h.CheckToken(t.Context(), token)
			must(t, err)
			if got := now.LastUsedAt.Sub(s.CreatedAt); got != step.want {
				t.Errorf("%v later it was last used after %v, want %v", step.sleep, got, step.want)
			}
		}
	})
}

func TestWhatAClientSaysOfItselfIsCutToFit(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		s, err := h.OpenSession(t.Context(), h.register(t, "ada@example.com", "correct horse"), "user",
			auth.Client{UserAgent: "Mozilla\x00\xff" + strings.Repeat("é", 1000), IP: strings.Repeat("1", 1000)})
		must(t, err)
		if len(s.UserAgent) > 256 || len(s.IP) > 64 || !strings.HasPrefix(s.UserAgent, "Mozilla??é") || !strings.HasSuffix(s.UserAgent, "é") {
			t.Errorf("user agent %q, address %q", s.UserAgent, s.IP)
		}
	})
}

// What a cookie holds cannot be guessed, and cannot be had from the database (ASVS 7.2.3).
func TestACookieIsRandomAndKeptAsAHash(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		seen, letters := map[string]bool{}, map[rune]int{}
		for range 20 {
			_, _, cookie := h.open(t, ada, "user")
			seen[cookie] = true
			for _, r := range cookie {
				letters[r]++
			}
			if len(cookie) < 52 { // of 5 bits each: 260
				t.Errorf("a cookie has %d characters", len(cookie))
			}
			kept := fmt.Sprint(databasetest.Dump(t, h.db))
			sum := sha256.Sum256([]byte(cookie))
			if strings.Contains(kept, cookie) || !strings.Contains(kept, hex.EncodeToString(sum[:])) {
				t.Error("a cookie is kept, or not as its SHA-256")
			}
		}
		if len(seen) != 20 || len(letters) != 32 {
			t.Errorf("%d different cookies of %d different characters, want 20 of 32", len(seen), len(letters))
		}
	})
}
