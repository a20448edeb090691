package link_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/user"
)

// purging is the bridge with a time after which it purges; 0 stands for at once.
func (b bridge) purging(after time.Duration, events ...event.Emitter) *link.Service {
	if after == 0 {
		after = time.Nanosecond
	}
	p := link.Params{DB: b.db, Users: b.users, Auth: b.auth, Options: link.Options{UnlinkedTTL: after}}
	for _, e := range events {
		p.Events = e
	}
	s, err := link.New(p)
	if err != nil {
		panic(err)
	}
	return s
}

const week = 7 * 24 * time.Hour

// since moves all that says when an identity was used into the past.
func (b bridge) since(t *testing.T, id auth.IdentityID, ago time.Duration) {
	t.Helper()
	at := database.Now().Add(-ago)
	for table, column := range map[string]string{
		"link_unlinked": "since", "auth_session": "last_used_at", "auth_identity": "created_at",
	} {
		key := "auth_identity_id"
		if table == "auth_identity" {
			key = "id"
		}
		err := b.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := b.db.Conn(ctx).NewUpdate().TableExpr("latchkey_"+table).Set(column+" = ?", at).Where(key+" = ?", id).Exec(ctx)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// told collects events.
type told struct {
	mu     sync.Mutex
	events []event.Event
}

func (l *told) Emit(_ context.Context, events ...event.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, events...)
	return nil
}

func (b bridge) exists(t *testing.T, id auth.IdentityID) bool {
	t.Helper()
	_, err := b.auth.RetrieveAuthIdentity(t.Context(), id)
	if err != nil && !errors.Is(err, auth.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func TestWhoBecameNobodyIsPurgedAndNobodyElse(t *testing.T) {
	eachWith(t, link.ActorOptions{}, func(t *testing.T, b bridge) {
		idle := b.signUp(t, "idle@example.com", "correct horse").Identity.ID
		fresh := b.signUp(t, "fresh@example.com", "correct horse").Identity.ID
		lately := b.signUp(t, "lately@example.com", "correct horse")
		inUse := b.signUp(t, "app@example.com", "correct horse").Identity.ID
		if _, err := b.auth.UpdateAuthIdentities(t.Context(), auth.IdentityUpdate{ID: inUse, AppMetadata: auth.Merge(map[string]any{"customer_id": "cus_1"})}); err != nil {
			t.Fatal(err)
		}
		b.signUp(t, "user@example.com", "correct horse")
		linked, err := b.signIn(t.Context(), "emailpass", credentials("user@example.com", "correct horse"))
		if err != nil {
			t.Fatal(err)
		}
		// The application's own, for an actor type that nobody knows here.
		own, err := b.auth.Register(t.Context(), "emailpass", credentials("customer@example.com", "correct horse"))
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []auth.IdentityID{idle, lately.Identity.ID, inUse, linked.Identity.ID, own.ID} {
			b.since(t, id, 8*24*time.Hour)
		}
		b.since(t, fresh, week-time.Hour)
		if err := b.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := b.db.Conn(ctx).NewUpdate().TableExpr("latchkey_auth_session").Set("last_used_at = ?", database.Now().Add(-time.Hour)).
				Where("id = ?", lately.Session.ID).Exec(ctx)
			return err
		}); err != nil {
			t.Fatal(err)
		}

		if n, err := b.link.PurgeUnlinked(t.Context(), 100); n != 0 || err != nil {
			t.Errorf("without a time: %d, %v", n, err)
		}
		l := &told{}
		s := b.purging(week, l)
		if n, err := s.PurgeUnlinked(t.Context(), 100); n != 1 || err != nil {
			t.Errorf("purged %d, %v, want 1", n, err)
		}
		for what, c := range map[string]struct {
			id   auth.IdentityID
			want bool
		}{
			"who became nobody": {idle, false}, "who came lately": {fresh, true}, "who used a session lately": {lately.Identity.ID, true},
			"who is in use": {inUse, true}, "a user": {linked.Identity.ID, true}, "the application's own": {own.ID, true},
		} {
			if got := b.exists(t, c.id); got != c.want {
				t.Errorf("%s is there: %t, want %t", what, got, c.want)
			}
		}
		if len(l.events) != 1 || l.events[0] != event.Event(link.Purged{Identity: idle, ActorType: "user"}) {
			t.Errorf("announced: %+v", l.events)
		}
		// Nobody stands in the way of others: who was looked at and kept is not looked at again before long.
		if n, err := b.db.Conn(t.Context()).NewSelect().TableExpr("latchkey_link_unlinked").Where("since < ?", database.Now().Add(-week)).Count(t.Context()); n != 0 || err != nil {
			t.Errorf("%d would be looked at again, %v", n, err)
		}
		if n, err := s.PurgeUnlinked(t.Context(), 100); n != 0 || err != nil {
			t.Errorf("again: %d, %v", n, err)
		}
		b.wantWhole(t)
	})
}

// Who comes back after they were purged starts over, and is told nothing else than before.
func TestWhoWasPurgedStartsOver(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		b.signUp(t, "ada@example.com", "correct horse")
		if n, err := b.purging(0).PurgeUnlinked(t.Context(), 10); n != 1 || err != nil {
			t.Fatalf("purged %d, %v", n, err)
		}
		if _, err := b.signIn(t.Context(), "emailpass", credentials("ada@example.com", "correct horse")); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("sign in: %v, want the credentials to be nobody's", err)
		}
		b.signUp(t, "ada@example.com", "another horse")
		if l, err := b.signIn(t.Context(), "emailpass", credentials("ada@example.com", "another horse")); err != nil || l.ActorID == "" {
			t.Errorf("sign in after registering again: %+v, %v", l.ActorID, err)
		}
	})
}

// A first sign-in and a purge of the same identity at once: either the sign-in is first, and the identity stays and is a
// user's, or it starts over; a provider that needs no registration lets them in in any case.
func TestAFirstSignInAndAPurgeAtOnce(t *testing.T) {
	eachWith(t, link.ActorOptions{}, func(t *testing.T, b bridge) {
		defer databasetest.WatchDeadlocks(t, b.db)()
		waiting, purges := b.with(t, link.InviteOnly{}), b.purging(0)
		signedIn := 0
		var purged atomic.Int64
		for n := range 40 {
			name := fmt.Sprintf("person%d", n)
			first, err := waiting.SignIn(t.Context(), "user", "vouching", vouched(name, "", false), auth.Client{})
			if err != nil || first.ActorID != "" {
				t.Fatal(first.ActorID, err)
			}
			in := vouched(name, name+"@example.com", false)
			for i, err := range databasetest.Together(8, func(i int) error {
				if i%2 == 0 {
					_, err := b.signIn(t.Context(), "vouching", in)
					return err
				}
				k, err := purges.PurgeUnlinked(t.Context(), 10)
				if k > 0 {
					purged.Add(1) // one of them
				}
				return err
			}) {
				if err != nil {
					t.Errorf("round %d, %d: %v", n, i, err)
				}
			}
			l, err := b.signIn(t.Context(), "vouching", in)
			if err != nil || l.ActorID == "" {
				t.Fatalf("round %d, afterwards: %+v, %v", n, l.ActorID, err)
			}
			if l.Identity.ID == first.Identity.ID {
				signedIn++
			}
		}
		t.Logf("the sign-in was first %d times, the purge %d times", signedIn, purged.Load())
		if signedIn+int(purged.Load()) != 40 {
			t.Errorf("of 40 rounds the sign-in won %d and the purge %d", signedIn, purged.Load())
		}
		if n := b.count(t, "user"); n != 40 {
			t.Errorf("%d users, want one for each", n)
		}
		b.wantWhole(t)
	})
}

// An invite is accepted in a session of before while the identity is purged: it is accepted, or stays open.
func TestAcceptingAnInviteAndAPurgeAtOnce(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		defer databasetest.WatchDeadlocks(t, b.db)()
		purges := b.purging(0)
		for n := range 20 {
			address := fmt.Sprintf("person%d@example.com", n)
			l := b.signUp(t, address, "correct horse")
			invites, err := b.users.CreateInvites(t.Context(), user.InviteDraft{Email: address})
			if err != nil {
				t.Fatal(err)
			}
			errs := databasetest.Together(3, func(i int) error {
				if i == 0 {
					_, err := b.link.Accept(t.Context(), l.Session, b.users.InviteToken(invites[0], user.ByHand), link.Acceptance{})
					return err
				}
				_, err := purges.PurgeUnlinked(t.Context(), 10)
				return err
			})
			if errs[1] != nil || errs[2] != nil || errs[0] != nil && !errors.Is(errs[0], auth.ErrSession) {
				t.Errorf("round %d: %v", n, errs)
			}
			i, err := b.users.RetrieveInvite(t.Context(), invites[0].ID)
			if accepted := errs[0] == nil; err != nil || i.Accepted != accepted || b.exists(t, l.Identity.ID) != accepted {
				t.Errorf("round %d: accepted %t, invite %+v, %v", n, accepted, i, err)
			}
		}
		b.wantWhole(t)
	})
}

// An application that keeps an identity, by a hook, keeps none of the others.
func TestOneIdentityThatCannotBePurgedIsNotInTheWayOfOthers(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		kept := b.signUp(t, "kept@example.com", "correct horse").Identity.ID
		refusal := errors.New("not this one")
		b.auth.OnDelete(func(_ context.Context, ids []auth.IdentityID) error {
			if ids[0] == kept {
				return refusal
			}
			return nil
		})
		b.signUp(t, "idle@example.com", "correct horse")
		if n, err := b.purging(0).PurgeUnlinked(t.Context(), 10); n != 1 || !errors.Is(err, refusal) || !b.exists(t, kept) {
			t.Errorf("purged %d, %v", n, err)
		}
		b.wantWhole(t)
	})
}

// with is the bridge by another policy.
func (b bridge) with(t *testing.T, p link.Policy) *link.Service {
	t.Helper()
	s, err := link.New(link.Params{DB: b.db, Users: b.users, Auth: b.auth, Options: link.Options{Actors: map[string]link.ActorOptions{"user": {Policy: p}}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
