package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

func keysOf(t *testing.T, letters ...string) *keyring.Ring {
	t.Helper()
	var secrets [][]byte
	for _, l := range letters {
		secrets = append(secrets, bytes.Repeat([]byte(l), 32))
	}
	keys, err := keyring.New(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// execute runs a statement in a transaction.
func execute(t *testing.T, db *database.DB, statement string, args ...any) {
	t.Helper()
	err := db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := db.Conn(ctx).NewRaw(statement, args...).Exec(ctx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTopicsAreThoseOfTheModules(t *testing.T) {
	var want []string
	for _, file := range []string{"../../modules/user/events.go", "../../modules/auth/events.go", "../../link/events.go"} {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\) Topic\(\) string\s*\{ return "([^"]+)" \}`).FindAllStringSubmatch(string(code), -1) {
			want = append(want, m[1])
		}
	}
	slices.Sort(want)
	if got := webhook.Topics(); !slices.Equal(got, want) {
		t.Errorf("Topics() is\n%q, the modules have\n%q", got, want)
	}
}

func TestWhatAWebhookMayBe(t *testing.T) {
	each(t, webhook.Options{Topics: []string{"order.placed"}}, func(t *testing.T, p *program) {
		for _, c := range []struct {
			draft webhook.EndpointDraft
			wrong string // empty: nothing
		}{
			{webhook.EndpointDraft{URL: "https://example.com/hooks", Topics: []string{"user.created", "invite.accepted", "user.created"}, Description: "Grüße"}, ""},
			{webhook.EndpointDraft{URL: "https://example.com/hooks", Topics: []string{"order.placed"}}, ""},
			{webhook.EndpointDraft{URL: "http://example.com/hooks"}, "url must begin with https://"},
			{webhook.EndpointDraft{URL: "https://10.0.0.1/"}, "url must lead to a public address"},
			{webhook.EndpointDraft{}, "url must be a whole address"},
			{webhook.EndpointDraft{URL: "https://example.com/", Topics: []string{"user.creatd"}}, "topics[0] is none that there is. A topic is a whole name, such as user.created, and none given is every one; there are user.created, user.deactivated"},
			{webhook.EndpointDraft{URL: "https://example.com/", Topics: []string{"user.created", "user.*"}}, "topics[1] is none"},
			{webhook.EndpointDraft{URL: "https://example.com/", Topics: []string{""}}, "topics[0] is none"},
			{webhook.EndpointDraft{URL: "https://example.com/", Topics: make([]string, 65)}, "at most 64"},
			{webhook.EndpointDraft{URL: "https://example.com/", Description: strings.Repeat("x", 257)}, "description"},
			{webhook.EndpointDraft{URL: "https://example.com/", Description: "\x00"}, "description"},
			{webhook.EndpointDraft{URL: "https://example.com/\xff"}, "url must be valid UTF-8"},
		} {
			e, secret, err := p.CreateEndpoint(t.Context(), c.draft)
			if c.wrong != "" {
				kind := error(webhook.ErrInvalid)
				if strings.HasPrefix(c.wrong, "url") {
					kind = webhook.ErrURL
				}
				if !errors.Is(err, kind) || !strings.Contains(err.Error(), c.wrong) || e.ID != "" || secret.Reveal() != "whsec_" {
					t.Errorf("%+v: %v, want %q", c.draft, err, c.wrong)
				}
				continue
			}
			if err != nil {
				t.Errorf("%+v: %v", c.draft, err)
				continue
			}
			p.shown = append(p.shown, secret.Reveal())
			if !id.Valid("whep", string(e.ID)) || e.URL != c.draft.URL || !e.Enabled() || e.Secrets != 1 || e.Description != c.draft.Description {
				t.Errorf("made %+v", e)
			}
			again, err := p.RetrieveEndpoint(t.Context(), e.ID)
			if err != nil || fmt.Sprint(again) != fmt.Sprint(e) {
				t.Errorf("kept %+v, %v, want %+v", again, err, e)
			}
		}
		all, n, err := p.ListEndpoints(t.Context(), webhook.Page{Limit: 1, Offset: 1})
		if err != nil || n != 2 || len(all) != 1 || all[0].Topics[0] != "order.placed" || all[0].Secrets != 1 {
			t.Errorf("the second page: %+v of %d, %v", all, n, err)
		}
		if n := count(t, p.db, "latchkey_outbox_consumer WHERE name = 'webhook'"); n != 3 {
			t.Errorf("%d rows say what is wanted, want 3", n)
		}
	})
}

// Every change costs a row for each, so there is an end to them.
func TestThereIsAnEndToWebhooks(t *testing.T) {
	each(t, webhook.Options{}, func(t *testing.T, p *program) {
		draft := webhook.EndpointDraft{URL: "https://example.com/", Topics: []string{"user.created"}}
		var last webhook.Endpoint
		err := p.db.InTx(t.Context(), func(ctx context.Context) (err error) {
			for n := 0; n < webhook.MaxEndpoints && err == nil; n++ {
				last, _, err = p.CreateEndpoint(ctx, draft)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.CreateEndpoint(t.Context(), draft); !errors.Is(err, webhook.ErrTooMany) {
			t.Errorf("one more: %v", err)
		}
		if err := p.DeleteEndpoint(t.Context(), last.ID); err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.CreateEndpoint(t.Context(), draft); err != nil {
			t.Errorf("when one was deleted: %v", err)
		}
	})
}

func count(t *testing.T, db *database.DB, from string) (n int) {
	t.Helper()
	if err := db.Conn(t.Context()).NewRaw("SELECT count(*) FROM "+from).Scan(t.Context(), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestASecretShowsItselfOnlyWhenAsked(t *testing.T) {
	each(t, webhook.Options{}, func(t *testing.T, p *program) {
		_, secret, err := p.CreateEndpoint(t.Context(), webhook.EndpointDraft{URL: "https://example.com/"})
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		printed := fmt.Sprintf("%v %+v %#v %s %q %s", secret, secret, secret, secret, secret, data)
		if bare := strings.TrimPrefix(secret.Reveal(), "whsec_"); len(bare) != 44 || strings.Contains(printed, bare) || strings.Contains(printed, fmt.Sprint([]byte(bare))) {
			t.Errorf("printed %s", printed)
		}
		p.shown = append(p.shown, secret.Reveal())
	})
}

func TestAWebhookChanges(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		one, other := newReceiver(t, nil), newReceiver(t, nil)
		e, _ := p.create(t, one.URL, "user.created")
		ptr := func(s string) *string { return &s }
		yes, no := true, false
		p.run(t)
		for _, step := range []struct {
			update         webhook.EndpointUpdate
			one, other     int // requests after somebody was made and deleted
			actions        int // rows of the trail after it
			wrong, enabled bool
		}{
			{webhook.EndpointUpdate{}, 1, 0, 1, false, true},
			{webhook.EndpointUpdate{Description: ptr("new"), Topics: &[]string{"user.created"}}, 2, 0, 2, false, true},
			{webhook.EndpointUpdate{Description: ptr("new"), Enabled: &yes}, 3, 0, 2, false, true}, // which it is
			{webhook.EndpointUpdate{URL: ptr(other.URL)}, 3, 1, 3, false, true},
			{webhook.EndpointUpdate{Topics: &[]string{}}, 3, 3, 4, false, true},
			{webhook.EndpointUpdate{URL: ptr("ftp://x"), Enabled: &no}, 3, 5, 4, true, true}, // as a whole
			{webhook.EndpointUpdate{Enabled: &no}, 3, 5, 5, false, false},
			{webhook.EndpointUpdate{Topics: &[]string{"user.deleted"}}, 3, 5, 6, false, false},
			{webhook.EndpointUpdate{Enabled: &yes}, 3, 6, 7, false, true},
		} {
			step.update.ID = e.ID
			got, err := p.UpdateEndpoint(t.Context(), step.update)
			if (err != nil) != step.wrong || err == nil && got.Enabled() != step.enabled {
				t.Fatalf("%+v: %+v, %v", step, got, err)
			}
			p.tell(t, "user_1")
			if err := p.outbox.Emit(t.Context(), deleted("user_1")); err != nil {
				t.Fatal(err)
			}
			p.settled(t)
			if a, b := len(one.requests()), len(other.requests()); a != step.one || b != step.other {
				t.Errorf("after %+v there are %d and %d requests, want %d and %d", step.update, a, b, step.one, step.other)
			}
			if n := len(p.actions(t)); n != step.actions {
				t.Errorf("after %+v the trail has %d rows, want %d", step.update, n, step.actions)
			}
		}
		if _, err := p.UpdateEndpoint(t.Context(), webhook.EndpointUpdate{ID: webhook.EndpointID(id.New("whep"))}); !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("of none: %v", err)
		}
		for range 2 {
			if err := p.DeleteEndpoint(t.Context(), e.ID); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.RetrieveEndpoint(t.Context(), e.ID); !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("deleted: %v", err)
		}
		if n := count(t, p.db, "latchkey_webhook_secret") + count(t, p.db, "latchkey_outbox_consumer WHERE name = 'webhook'"); n != 0 {
			t.Errorf("%d rows are left", n)
		}
		if actions := p.actions(t); actions[len(actions)-1] != "webhook.deleted" || len(actions) != 8 {
			t.Errorf("the trail has %q", actions)
		}
	})
}

// What waits for a webhook is dropped with it, and when it is disabled.
func TestWhatWaitsForADisabledWebhookIsDropped(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		r := newReceiver(t, nil)
		e, _ := p.create(t, r.URL)
		p.tell(t, "user_1")
		no, yes := false, true
		for _, enabled := range []*bool{&no, &yes} {
			if _, err := p.UpdateEndpoint(t.Context(), webhook.EndpointUpdate{ID: e.ID, Enabled: enabled}); err != nil {
				t.Fatal(err)
			}
		}
		p.tell(t, "user_2")
		p.run(t)
		p.settled(t)
		if got := r.requests(); len(got) != 1 || got[0].aggregate() != "user_2" {
			t.Errorf("%v, want the second alone", got)
		}
	})
}

// An endpoint that is made by a transaction that fails is none.
func TestAWebhookIsMadeWithItsTransaction(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		undone := errors.New("undone")
		if err := p.db.InTx(t.Context(), func(ctx context.Context) error {
			if _, _, err := p.CreateEndpoint(ctx, webhook.EndpointDraft{URL: "https://example.com/"}); err != nil {
				return err
			}
			return undone
		}); !errors.Is(err, undone) {
			t.Fatal(err)
		}
		n := count(t, p.db, "latchkey_webhook_endpoint") + count(t, p.db, "latchkey_webhook_secret") + count(t, p.db, "latchkey_outbox_consumer WHERE name = 'webhook'") + len(p.actions(t))
		if n != 0 {
			t.Errorf("%d rows are there", n)
		}
	})
}

// During a rotation both secrets verify what is sent, then only the new one does.
func TestARotationHasBothSecretsSignForAWhile(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		r := newReceiver(t, nil)
		e, first := p.create(t, r.URL)
		rotate := func(o webhook.Rotation) string {
			t.Helper()
			after, secret, err := p.RotateSecret(t.Context(), e.ID, o)
			if err != nil {
				t.Fatal(err)
			}
			e = after
			p.shown = append(p.shown, secret.Reveal())
			return secret.Reveal()
		}
		verified := func(what string, fits, fitsNot []string) {
			t.Helper()
			if _, err := p.SendTest(t.Context(), e.ID); err != nil {
				t.Fatal(err)
			}
			got := r.requests()
			last := got[len(got)-1]
			for _, secret := range fits {
				if err := verify(t, last, secret); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			for _, secret := range fitsNot {
				if verify(t, last, secret) == nil {
					t.Errorf("%s: a secret signs that should not any more", what)
				}
			}
			if n := len(strings.Fields(last.header.Get("webhook-signature"))); n != len(fits) || n != e.Secrets {
				t.Errorf("%s: %d signatures, %d secrets, want %d", what, n, e.Secrets, len(fits))
			}
		}
		verified("at first", []string{first}, nil)
		second := rotate(webhook.Rotation{})
		verified("after a rotation", []string{second, first}, nil)
		if n := count(t, p.db, "latchkey_webhook_secret WHERE expires_at IS NULL"); n != 1 {
			t.Errorf("%d secrets are current", n)
		}
		execute(t, p.db, "UPDATE latchkey_webhook_secret SET expires_at = ? WHERE expires_at IS NOT NULL", database.Now().Add(-time.Second)) // the day is over
		e.Secrets = 1
		verified("when the overlap is over", []string{second}, []string{first})
		third := rotate(webhook.Rotation{Overlap: time.Hour})
		verified("after another", []string{third, second}, []string{first})
		fourth := rotate(webhook.Rotation{Now: true})
		verified("at once", []string{fourth}, []string{first, second, third})

		rotate(webhook.Rotation{Overlap: 30 * 24 * time.Hour})
		rotate(webhook.Rotation{Overlap: time.Minute}) // which is for all of before
		if n := count(t, p.db, "latchkey_webhook_secret"); n != 3 {
			t.Errorf("%d secrets, want 3", n)
		}
		var last time.Time
		if err := p.db.Conn(t.Context()).NewRaw("SELECT expires_at FROM latchkey_webhook_secret ORDER BY expires_at IS NULL, expires_at DESC LIMIT 1").Scan(t.Context(), &last); err != nil || time.Until(last) > time.Minute {
			t.Errorf("a secret of before signs until %v, %v", last, err)
		}
		rotate(webhook.Rotation{Now: true})

		for range 7 {
			rotate(webhook.Rotation{})
		}
		if _, _, err := p.RotateSecret(t.Context(), e.ID, webhook.Rotation{}); !errors.Is(err, webhook.ErrRotating) {
			t.Errorf("a ninth secret: %v", err)
		}
		execute(t, p.db, "UPDATE latchkey_webhook_secret SET expires_at = ? WHERE expires_at IS NOT NULL", database.Now().Add(-time.Second))
		if n, err := p.PurgeSecrets(t.Context(), 5); n != 5 || err != nil {
			t.Errorf("purged %d, %v", n, err)
		}
		if n, err := p.PurgeSecrets(t.Context(), 5); n != 2 || err != nil {
			t.Errorf("purged %d more, %v", n, err)
		}
		for _, o := range []webhook.Rotation{{Overlap: -1}, {Overlap: 31 * 24 * time.Hour}, {Overlap: time.Hour, Now: true}} {
			if _, _, err := p.RotateSecret(t.Context(), e.ID, o); !errors.Is(err, webhook.ErrInvalid) {
				t.Errorf("%+v: %v", o, err)
			}
		}
		if _, _, err := p.RotateSecret(t.Context(), webhook.EndpointID(id.New("whep")), webhook.Rotation{}); !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("of none: %v", err)
		}
	})
}

// Rotating the master secrets, step by step, leaves the secrets of endpoints as they are; without any of them they are lost, and
// that is said.
func TestSecretsOutliveTheMasterSecrets(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) { // under k
		r := newReceiver(t, nil)
		e, secret := p.create(t, r.URL)
		check := func(what string, q *program, lost bool) {
			t.Helper()
			d, err := q.SendTest(t.Context(), e.ID)
			if err != nil || d.Failed() != lost {
				t.Fatalf("%s: %+v, %v", what, d, err)
			}
			if got := r.requests(); !lost && verify(t, got[len(got)-1], secret) != nil {
				t.Errorf("%s: the secret does not verify it", what)
			}
		}
		seals := func() (n int) {
			var row struct{ Seals database.Object }
			if err := p.db.Conn(t.Context()).NewRaw("SELECT seals FROM latchkey_webhook_secret").Scan(t.Context(), &row); err != nil {
				t.Fatal(err)
			}
			return len(row.Seals)
		}
		for _, step := range []struct {
			what    string
			secrets []string
			seals   int
		}{{"appended", []string{"k", "n"}, 2}, {"in front", []string{"n", "k"}, 2}, {"dropped", []string{"n"}, 1}, {"two at once", []string{"x", "n", "y"}, 3}, {"the last alone", []string{"y"}, 1}} {
			q := newProgram(t, p.db, keysOf(t, step.secrets...), open)
			check(step.what+", before anybody has looked", q, false)
			kept, err := webhook.NewVault(p.db, keysOf(t, step.secrets...)).Reseal(t.Context())
			if err != nil || kept.Secrets != 1 || len(kept.Lost) != 0 || seals() != step.seals {
				t.Errorf("%s: %+v, %v, %d seals, want %d", step.what, kept, err, seals(), step.seals)
			}
			check(step.what, q, false)
		}
		kept, err := webhook.NewVault(p.db, keysOf(t, "k")).Reseal(t.Context())
		if err != nil || len(kept.Lost) != 1 || kept.Lost[0] != e.ID || seals() != 1 {
			t.Errorf("under one that has gone: %+v, %v, %d seals", kept, err, seals())
		}
		check("under one that has gone", p, true)
		check("as it was", newProgram(t, p.db, keysOf(t, "y"), open), false)

		// A sealed secret is that of its endpoint, and of no other.
		other, _ := newProgram(t, p.db, keysOf(t, "y"), open).create(t, r.URL)
		execute(t, p.db, "UPDATE latchkey_webhook_secret SET seals = (SELECT o.seals FROM latchkey_webhook_secret o WHERE o.endpoint_id = ?) WHERE endpoint_id = ?", string(other.ID), string(e.ID))
		check("with the seal of another", newProgram(t, p.db, keysOf(t, "y"), open), true)
	})
}

// A server that runs follows the master secrets.
func TestARunningServerSealsAnewWhenTheMasterSecretsChange(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		r := newReceiver(t, nil)
		e, secret := p.create(t, r.URL)
		f := &file{secrets: [][]byte{bytes.Repeat([]byte("k"), 32)}}
		following, err := keyring.Open(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		q := newProgram(t, p.db, following, open)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			q.Run(ctx)
		}()
		f.write(bytes.Repeat([]byte("k"), 32), bytes.Repeat([]byte("n"), 32))
		alone := webhook.NewVault(p.db, keysOf(t, "n"))
		until(t, "the new one opens it", func() bool {
			kept, err := alone.Status(t.Context())
			return err == nil && len(kept.Lost) == 0
		})
		cancel()
		<-ended
		if d, err := newProgram(t, p.db, keysOf(t, "n"), open).SendTest(t.Context(), e.ID); err != nil || d.Failed() {
			t.Errorf("%+v, %v", d, err)
		}
		if err := verify(t, r.requests()[0], secret); err != nil {
			t.Error(err)
		}
	})
}
