package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/email"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

type metadata = map[string]any

// made makes one identity.
func (h house) made(t testing.TB, d auth.IdentityDraft) auth.Identity {
	t.Helper()
	made, err := h.CreateAuthIdentities(t.Context(), d)
	must(t, err)
	return made[0]
}

// saw checks what was announced since it was last looked at.
func (h house) saw(t testing.TB, want ...event.Event) {
	t.Helper()
	if !slices.Equal(h.events.seen, want) {
		t.Errorf("announced: %+v, want %+v", h.events.seen, want)
	}
	h.events.seen = nil
}

func TestIdentitiesAreMadeWithTheirWaysToSignIn(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		hash, err := passwords(t).Hash(t.Context(), "correct horse") // of before the move
		must(t, err)
		made, err := h.CreateAuthIdentities(t.Context(),
			auth.IdentityDraft{},
			auth.IdentityDraft{
				AppMetadata: metadata{"plan": "pro"},
				Providers: []auth.ProviderIdentityDraft{
					{Provider: emailpass.Name, EntityID: "Ada@Example.com", Email: "ADA@example.com", EmailVerified: true, Secret: hash, UserMetadata: metadata{"n": 1}},
					{Provider: "vouching", EntityID: "Ada", ProviderMetadata: metadata{"from": "the old one"}, EmailVerified: true},
				},
			})
		must(t, err)
		if len(made) != 2 || len(made[0].Providers) != 0 || len(made[1].Providers) != 2 || made[1].AppMetadata["plan"] != "pro" {
			t.Fatalf("made %+v", made)
		}
		var password, voucher auth.ProviderIdentity
		for _, p := range made[1].Providers {
			if p.Provider == emailpass.Name {
				password = p
			} else {
				voucher = p
			}
		}
		if password.EntityID != "ada@example.com" || password.Email != "ada@example.com" || password.EmailVerifiedAt.IsZero() || !reflect.DeepEqual(password.UserMetadata, metadata{"n": 1.0}) {
			t.Errorf("the password: %+v", password)
		}
		if voucher.EntityID != "Ada" || voucher.Email != "" || !voucher.EmailVerifiedAt.IsZero() || voucher.ProviderMetadata["from"] != "the old one" {
			t.Errorf("the voucher: %+v", voucher)
		}
		h.saw(t, auth.IdentityCreated{ID: made[0].ID}, auth.IdentityCreated{ID: made[1].ID},
			auth.ProviderIdentityCreated{ID: password.ID, IdentityID: made[1].ID}, auth.ProviderIdentityCreated{ID: voucher.ID, IdentityID: made[1].ID})

		for i, signIn := range map[string]func() (auth.Identity, error){
			"by password": func() (auth.Identity, error) { return h.signIn(t.Context(), "ada@example.com", "correct horse") },
			"by voucher":  func() (auth.Identity, error) { return h.Authenticate(t.Context(), "vouching", input("name", "Ada")) },
		} {
			if ada, err := signIn(); err != nil || ada.ID != made[1].ID || ada.Proved.Created {
				t.Errorf("%s: %s, new: %t, %v; want %s", i, ada.ID, ada.Proved.Created, err, made[1].ID)
			}
		}
		h.saw(t)

		more, err := h.CreateProviderIdentities(t.Context(), vouched(made[0].ID, "Eve"), vouched(made[1].ID, "Countess"))
		must(t, err)
		h.saw(t, auth.ProviderIdentityCreated{ID: more[0].ID, IdentityID: made[0].ID}, auth.ProviderIdentityCreated{ID: more[1].ID, IdentityID: made[1].ID})
		for name, want := range map[string]auth.IdentityID{"Eve": made[0].ID, "Countess": made[1].ID} {
			if i, err := h.Authenticate(t.Context(), "vouching", input("name", name)); err != nil || i.ID != want {
				t.Errorf("%s is %s (%v), want %s", name, i.ID, err, want)
			}
		}
	})
}

func TestAFirstSignInIsAnnounced(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		h.saw(t, auth.IdentityCreated{ID: ada.ID}, auth.ProviderIdentityCreated{ID: ada.Providers[0].ID, IdentityID: ada.ID})
		_, err := h.signIn(t.Context(), "ada@example.com", "correct horse")
		must(t, err)
		h.saw(t)
	})
}

func TestEventsHoldIDsOnlyAndComeInTheOrderOfTheIdentity(t *testing.T) {
	for want, e := range map[string]event.Event{
		`auth.auth-identity.created {"id":"authid_1"}`:                            auth.IdentityCreated{ID: "authid_1"},
		`auth.auth-identity.updated {"id":"authid_1"}`:                            auth.IdentityUpdated{ID: "authid_1"},
		`auth.auth-identity.deleted {"id":"authid_1"}`:                            auth.IdentityDeleted{ID: "authid_1"},
		`auth.provider-identity.created {"id":"1","auth_identity_id":"authid_1"}`: auth.ProviderIdentityCreated{ID: "1", IdentityID: "authid_1"},
		`auth.provider-identity.updated {"id":"1","auth_identity_id":"authid_1"}`: auth.ProviderIdentityUpdated{ID: "1", IdentityID: "authid_1"},
		`auth.provider-identity.deleted {"id":"1","auth_identity_id":"authid_1"}`: auth.ProviderIdentityDeleted{ID: "1", IdentityID: "authid_1"},
	} {
		data, err := json.Marshal(e)
		if got := e.Topic() + " " + string(data); err != nil || got != want || e.Aggregate() != "authid_1" {
			t.Errorf("%s of %s (%v), want %s", got, e.Aggregate(), err, want)
		}
	}
}

func TestATakenEntityIsNamedAndNothingIsMade(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.made(t, drafts("ada")[0])
		h.made(t, drafts("eve")[0])
		was := databasetest.Dump(t, h.db)
		h.events.seen = nil
		const adas, eves, news = "provider: vouching, entity_id: ada", "provider: vouching, entity_id: eve", "provider: vouching, entity_id: new"
		for name, c := range map[string]struct {
			call func() error
			want string
		}{
			"identities": {func() error { _, err := h.CreateAuthIdentities(t.Context(), drafts("new", "ada")...); return err },
				adas + "; provider: emailpass, entity_id: ada@example.org"},
			"ways to sign in": {func() error {
				_, err := h.CreateProviderIdentities(t.Context(), vouched(ada.ID, "eve"), vouched(ada.ID, "new"), vouched(ada.ID, "ada"))
				return err
			}, eves + "; " + adas},
			"twice in one call": {func() error {
				_, err := h.CreateProviderIdentities(t.Context(), vouched(ada.ID, "new"), vouched(ada.ID, "new"))
				return err
			}, news},
			"twice in one identity": {func() error {
				_, err := h.CreateAuthIdentities(t.Context(), auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{vouched("", "new"), vouched("", "new")}})
				return err
			}, news},
			"in another spelling": {func() error {
				_, err := h.CreateProviderIdentities(t.Context(), auth.ProviderIdentityDraft{IdentityID: ada.ID, Provider: emailpass.Name, EntityID: "EVE@example.org"})
				return err
			}, "provider: emailpass, entity_id: eve@example.org"},
		} {
			if err := c.call(); !errors.Is(err, auth.ErrEntityTaken) || err.Error() != "Provider identity with "+c.want+", already exists." {
				t.Errorf("%s: %v, want %s", name, err, c.want)
			}
			if now := databasetest.Dump(t, h.db); !reflect.DeepEqual(now, was) {
				t.Errorf("%s: the tables hold %v, want %v", name, now, was)
			}
		}
		h.saw(t)
	})
}

func TestDraftsThatCannotBeKeptAreRefused(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.made(t, auth.IdentityDraft{})
		was := databasetest.Dump(t, h.db)
		good := vouched(ada.ID, "good")
		full := metadata{"a": strings.Repeat("x", 16<<10-len(`{"a":""}`))}
		for name, c := range map[string]struct {
			change func(d *auth.ProviderIdentityDraft)
			want   error
		}{
			"unknown provider":           {func(d *auth.ProviderIdentityDraft) { d.Provider = "okta" }, auth.ErrUnknownProvider},
			"no provider":                {func(d *auth.ProviderIdentityDraft) { d.Provider = "" }, auth.ErrUnknownProvider},
			"no entity":                  {func(d *auth.ProviderIdentityDraft) { d.EntityID = "" }, auth.ErrInvalid},
			"too long an entity":         {func(d *auth.ProviderIdentityDraft) { d.EntityID = strings.Repeat("x", 1025) }, auth.ErrInvalid},
			"an entity with NUL":         {func(d *auth.ProviderIdentityDraft) { d.EntityID = "a\x00" }, auth.ErrInvalid},
			"an entity that is no text":  {func(d *auth.ProviderIdentityDraft) { d.EntityID = "\xff" }, auth.ErrInvalid},
			"no entity of this provider": {func(d *auth.ProviderIdentityDraft) { d.Provider = emailpass.Name }, email.ErrInvalid},
			"no address":                 {func(d *auth.ProviderIdentityDraft) { d.Email = "ada" }, email.ErrInvalid},
			"too much user metadata":     {func(d *auth.ProviderIdentityDraft) { d.UserMetadata = metadata{"a": full["a"].(string) + "x"} }, auth.ErrInvalid},
			"too much provider metadata": {func(d *auth.ProviderIdentityDraft) { d.ProviderMetadata = metadata{"a": full["a"].(string) + "x"} }, auth.ErrInvalid},
			"metadata with NUL":          {func(d *auth.ProviderIdentityDraft) { d.UserMetadata = metadata{"a": []any{"\x00"}} }, auth.ErrInvalid},
			"metadata that is no JSON":   {func(d *auth.ProviderIdentityDraft) { d.ProviderMetadata = metadata{"a": math.Inf(1)} }, auth.ErrInvalid},
			"too long a secret":          {func(d *auth.ProviderIdentityDraft) { d.Secret = make([]byte, 16<<10+1) }, auth.ErrInvalid},
		} {
			bad := good
			c.change(&bad)
			if _, err := h.CreateProviderIdentities(t.Context(), good, bad); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
			bad.IdentityID = ""
			if _, err := h.CreateAuthIdentities(t.Context(), auth.IdentityDraft{}, auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{bad}}); !errors.Is(err, c.want) {
				t.Errorf("%s, with an identity: %v, want %v", name, err, c.want)
			}
		}
		for name, d := range map[string]auth.IdentityDraft{
			"a way of somebody else":   {Providers: []auth.ProviderIdentityDraft{good}},
			"app metadata without end": {AppMetadata: metadata{"a": strings.Repeat("x", 4<<10-len(`{"a":""}`)+1)}},
			"app metadata with NUL":    {AppMetadata: metadata{"\x00": ""}},
		} {
			if _, err := h.CreateAuthIdentities(t.Context(), auth.IdentityDraft{}, d); !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("%s: %v, want ErrInvalid", name, err)
			}
		}
		if now := databasetest.Dump(t, h.db); !reflect.DeepEqual(now, was) {
			t.Errorf("the tables hold %v, want %v", now, was)
		}

		good.UserMetadata, good.ProviderMetadata, good.Secret, good.EntityID = full, full, make([]byte, 16<<10), strings.Repeat("é", 512)
		if _, err := h.CreateProviderIdentities(t.Context(), good); err != nil {
			t.Errorf("as much as there may be: %v", err)
		}
		h.made(t, auth.IdentityDraft{AppMetadata: metadata{"a": strings.Repeat("x", 4<<10-len(`{"a":""}`))}})
	})
}

// Whoever is given as much app metadata as there may be can still be given a token.
func TestAsMuchAppMetadataAsThereMayBeFitsIntoAToken(t *testing.T) {
	h := onSQLite(t, auth.Options{})
	h.register(t, "ada@example.com", "correct horse")
	found, err := h.ListAuthIdentities(t.Context(), auth.IdentityFilter{}, auth.Page{})
	must(t, err)
	full := auth.Merge(metadata{"a": strings.Repeat("x", 4<<10-len(`{"a":""}`))})
	_, err = h.UpdateAuthIdentities(t.Context(), auth.IdentityUpdate{ID: found[0].ID, AppMetadata: full})
	must(t, err)
	ada, err := h.signIn(t.Context(), "ada@example.com", "correct horse")
	must(t, err)
	s, err := h.OpenSession(t.Context(), ada, "user", auth.Client{})
	must(t, err)
	token, err := h.Token(s, ada, auth.Actor{ID: "user_01ARZ3NDEKTSV4RRFFQ69G5FAV", Metadata: metadata{"roles": slices.Repeat([]string{"a-role-of-24-characters."}, 16)}})
	must(t, err)
	if _, _, err := h.CheckToken(t.Context(), token); err != nil {
		t.Errorf("a token of %d bytes: %v", len(token), err)
	}
}

func TestADraftHidesItsSecret(t *testing.T) {
	secret := "what nobody may read"
	draft := auth.ProviderIdentityDraft{Provider: "vouching", EntityID: "ada", Secret: []byte(secret)}
	var logged bytes.Buffer
	for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&logged, nil)), slog.New(slog.NewJSONHandler(&logged, nil))} {
		log.Info("made", "draft", draft, "identity", auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{draft}})
	}
	shown := append(renderings(t, draft), renderings(t, auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{draft}})...)
	for _, text := range append(shown, logged.String(), draft.String()) {
		for form, spelling := range forms([]byte(secret)) {
			if strings.Contains(text, spelling) {
				t.Errorf("it shows the secret, as %s: %s", form, text)
			}
		}
	}
	if !strings.Contains(draft.String(), "vouching") {
		t.Errorf("%q does not name the provider", draft)
	}
}

func TestMetadataIsMergedAtTheTop(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		for _, c := range []struct {
			name      string
			old       metadata
			with      auth.MetadataUpdate
			want      metadata
			untouched bool
		}{
			{"a key is added", metadata{"a": "1"}, auth.Merge(metadata{"b": "2"}), metadata{"a": "1", "b": "2"}, false},
			{"a key is replaced", metadata{"a": "1", "b": true}, auth.Merge(metadata{"a": 2.5}), metadata{"a": 2.5, "b": true}, false},
			{"an empty text removes", metadata{"a": "1", "b": "2"}, auth.Merge(metadata{"a": ""}), metadata{"b": "2"}, false},
			{"a nested object is replaced", metadata{"o": metadata{"x": 1.0}}, auth.Merge(metadata{"o": metadata{"y": ""}}), metadata{"o": metadata{"y": ""}}, false},
			{"something comes to nothing", nil, auth.Merge(metadata{"a": "1"}), metadata{"a": "1"}, false},
			{"cleared", metadata{"a": "1"}, auth.Clear(), nil, false},
			{"empty changes nothing", metadata{"a": "1"}, auth.Merge(metadata{}), metadata{"a": "1"}, true},
			{"nil changes nothing", metadata{"a": "1"}, auth.Merge(nil), metadata{"a": "1"}, true},
			{"not set", metadata{"a": "1"}, auth.MetadataUpdate{}, metadata{"a": "1"}, true},
		} {
			t.Run(c.name, func(t *testing.T) {
				was := h.made(t, auth.IdentityDraft{AppMetadata: c.old, Providers: []auth.ProviderIdentityDraft{{
					Provider: "vouching", EntityID: c.name, UserMetadata: c.old, ProviderMetadata: c.old,
				}}})
				h.events.seen = nil
				identities, err := h.UpdateAuthIdentities(t.Context(), auth.IdentityUpdate{ID: was.ID, AppMetadata: c.with})
				must(t, err)
				way := was.Providers[0]
				var announced []event.Event
				if !c.untouched {
					announced = []event.Event{auth.IdentityUpdated{ID: was.ID}, auth.ProviderIdentityUpdated{ID: way.ID, IdentityID: was.ID}}
				}
				ways, err := h.UpdateProviderIdentities(t.Context(), auth.ProviderIdentityUpdate{ID: way.ID, UserMetadata: c.with, ProviderMetadata: c.with})
				must(t, err)
				h.saw(t, announced...)
				for what, got := range map[string]metadata{"app": identities[0].AppMetadata, "user": ways[0].UserMetadata, "provider": ways[0].ProviderMetadata} {
					if !reflect.DeepEqual(got, c.want) {
						t.Errorf("%s metadata: %#v, want %#v", what, got, c.want)
					}
				}
				if identities[0].UpdatedAt.Equal(was.UpdatedAt) != c.untouched || ways[0].UpdatedAt.Equal(way.UpdatedAt) != c.untouched {
					t.Errorf("changed at %v and %v, want it unchanged: %t", identities[0].UpdatedAt, ways[0].UpdatedAt, c.untouched)
				}
				ways[0].UserMetadata, ways[0].ProviderMetadata, ways[0].UpdatedAt = way.UserMetadata, way.ProviderMetadata, way.UpdatedAt
				if !reflect.DeepEqual(ways[0], way) {
					t.Errorf("%+v has become %+v", way, ways[0])
				}
			})
		}
	})
}

func TestOneOfTwoMetadataIsChangedAlone(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		way := h.made(t, auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{{
			Provider: "vouching", EntityID: "ada", UserMetadata: metadata{"a": "1"}, ProviderMetadata: metadata{"b": "2"},
		}}}).Providers[0]
		now, err := h.UpdateProviderIdentities(t.Context(),
			auth.ProviderIdentityUpdate{ID: way.ID, UserMetadata: auth.Clear()},
			auth.ProviderIdentityUpdate{ID: way.ID, UserMetadata: auth.Merge(metadata{"c": "3"})}) // on what the one before left
		must(t, err)
		if len(now) != 2 || !reflect.DeepEqual(now[1].UserMetadata, metadata{"c": "3"}) || !reflect.DeepEqual(now[1].ProviderMetadata, metadata{"b": "2"}) {
			t.Errorf("now %+v", now)
		}
	})
}

// Metadata can be changed while somebody signs in, and a session goes on.
func TestAnUpdateLeavesSecretsAndSessionsAlone(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		_, token, cookie := h.open(t, ada, "user")
		proof := h.prove(t, auth.SignIn, "ada@example.com", "correct horse")
		_, err := h.UpdateAuthIdentities(t.Context(), planned(ada.ID, "pro"))
		must(t, err)
		_, err = h.UpdateProviderIdentities(t.Context(), noted(ada.Providers[0].ID, "x"))
		must(t, err)
		h.opens(t, "after the update", token, cookie, nil, nil)
		if i, err := h.Admit(t.Context(), proof); err != nil || i.AppMetadata["plan"] != "pro" || i.Providers[0].UserMetadata["note"] != "x" {
			t.Errorf("a proof of before: %+v, %v", i, err)
		}
	})
}

func TestUnlinkingAWayEndsWhatItMayHaveOpened(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada, eve := h.register(t, "ada@example.com", "correct horse"), h.register(t, "eve@example.com", "correct horse")
		ways, err := h.CreateProviderIdentities(t.Context(), vouched(ada.ID, "ada"), vouched(ada.ID, "countess"))
		must(t, err)
		_, token, cookie := h.open(t, ada, "user")
		_, tokenOfEve, cookieOfEve := h.open(t, eve, "user")
		h.opens(t, "before", token, cookie, nil, nil)
		h.opens(t, "Eve before", tokenOfEve, cookieOfEve, nil, nil)
		byPassword := h.prove(t, auth.SignIn, "ada@example.com", "correct horse")
		byVoucher, err := h.Prove(t.Context(), auth.SignIn, "vouching", input("name", "ada"))
		must(t, err)
		h.events.seen = nil

		must(t, h.DeleteProviderIdentities(t.Context(), ways[0].ID, noWay))
		h.saw(t, auth.SessionsEnded{ID: ada.ID, Count: 1, Reason: auth.EndedByChange}, auth.ProviderIdentityDeleted{ID: ways[0].ID, IdentityID: ada.ID})
		h.opens(t, "after", token, cookie, auth.ErrSession, auth.ErrSession)
		h.opens(t, "Eve after", tokenOfEve, cookieOfEve, nil, nil)
		for what, proof := range map[string]auth.Proof{"by what stays": byPassword, "by what is gone": byVoucher} {
			if i, err := h.Admit(t.Context(), proof); !errors.Is(err, auth.ErrInvalidCredentials) {
				t.Errorf("a proof of before, %s, admits %s: %v", what, i.ID, err)
			}
		}
		if i, err := h.signIn(t.Context(), "ada@example.com", "correct horse"); err != nil || i.ID != ada.ID || len(i.Providers) != 2 {
			t.Errorf("by password: %s with %d ways (%v), want Ada with two", i.ID, len(i.Providers), err)
		}
		if i, err := h.Authenticate(t.Context(), "vouching", input("name", "ada")); err != nil || i.ID == ada.ID {
			t.Errorf("by the voucher: %s (%v), want somebody new", i.ID, err)
		}
		must(t, h.DeleteProviderIdentities(t.Context(), ways[0].ID)) // again
		if _, err := h.signIn(t.Context(), "ada@example.com", "correct horse"); err != nil {
			t.Error(err)
		}
	})
}

func TestTheLastWayInIsNotTakenAway(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada, eve := h.register(t, "ada@example.com", "correct horse"), h.register(t, "eve@example.com", "correct horse")
		ways, err := h.CreateProviderIdentities(t.Context(), vouched(ada.ID, "ada"), vouched(eve.ID, "eve"))
		must(t, err)
		_, token, cookie := h.open(t, ada, "user")
		was := databasetest.Dump(t, h.db)
		h.events.seen = nil
		for name, ids := range map[string][]string{
			"both at once":       {ada.Providers[0].ID, ways[0].ID},
			"with another's":     {ways[1].ID, ways[0].ID, ada.Providers[0].ID},
			"one of them twice":  {ways[0].ID, ada.Providers[0].ID, ways[0].ID},
			"with what is not":   {noWay, ada.Providers[0].ID, ways[0].ID},
			"of both identities": {ada.Providers[0].ID, ways[0].ID, eve.Providers[0].ID, ways[1].ID},
		} {
			err := h.DeleteProviderIdentities(t.Context(), ids...)
			if !errors.Is(err, auth.ErrLastWay) || !strings.Contains(fmt.Sprint(err), string(ada.ID)) {
				t.Errorf("%s: %v, want ErrLastWay that names %s", name, err, ada.ID)
			}
		}
		h.saw(t)
		h.opens(t, "after it was refused", token, cookie, nil, nil)
		if now := databasetest.Dump(t, h.db); !reflect.DeepEqual(now, was) {
			t.Errorf("the tables hold %v, want %v", now, was)
		}
	})
}

func TestOfTwoWhoTakeTheLastTwoWaysOneIsRefused(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		for n := range 10 {
			ada := h.made(t, drafts(fmt.Sprint("ada", n))[0])
			errs := databasetest.Together(2, func(i int) error { return h.DeleteProviderIdentities(t.Context(), ada.Providers[i].ID) })
			if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), auth.ErrLastWay) {
				t.Errorf("%v, want one success and one ErrLastWay", errs)
			}
		}
	})
}

func TestOfManyWhoMakeOneEntityOneDoes(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		eve := h.made(t, drafts("eve")[0])
		errs := databasetest.Together(30, func(i int) error {
			switch i % 3 {
			case 0:
				// In another order each: they must not wait for each other in a ring.
				names := []string{"a", "ada", "z"}
				if i%2 == 0 {
					slices.Reverse(names)
				}
				_, err := h.CreateAuthIdentities(t.Context(), drafts(names...)...)
				return err
			case 1:
				_, err := h.CreateProviderIdentities(t.Context(), vouched(eve.ID, "ada"))
				return err
			default:
				_, err := h.Authenticate(t.Context(), "vouching", input("name", "ada")) // is let in, whoever made it
				return err
			}
		})
		won := 0
		for i, err := range errs {
			switch {
			case i%3 == 2 && err != nil:
				t.Errorf("the sign-in %d: %v", i, err)
			case i%3 != 2 && err == nil:
				won++
			case err != nil && !errors.Is(err, auth.ErrEntityTaken):
				t.Errorf("%d: %v, want ErrEntityTaken", i, err)
			}
		}
		found, err := h.ListProviderIdentities(t.Context(), auth.ProviderIdentityFilter{Provider: "vouching", EntityID: "ada"}, auth.Page{})
		if err != nil || len(found) != 1 || won > 1 {
			t.Errorf("%d made it, and it is there %d times (%v)", won, len(found), err)
		}
		rows := [2]int{h.count(t, "auth_identity"), h.count(t, "provider_identity")}
		if whole := [][2]int{{1 + 3, 2 + 6}, {1, 2 + 1}, {1 + 1, 2 + 1}}; !slices.Contains(whole, rows) { // as who came first
			t.Errorf("identities and ways: %v, want one of %v: something is half made", rows, whole)
		}
	})
}

// meanwhile runs call while a transaction has done first and has not committed it, and returns what call returns in the
// end.
func (h house) meanwhile(t testing.TB, first func(ctx context.Context) error, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	must(t, h.db.InTx(t.Context(), func(ctx context.Context) error {
		if err := first(ctx); err != nil {
			return err
		}
		go func() { done <- call() }()
		time.Sleep(100 * time.Millisecond) // it should have come as far as it can
		return nil
	}))
	return <-done
}

// A sign-in writes what the provider says now, and not what it had read of the rest before somebody else changed it.
func TestASignInAndAnUpdateDoNotUndoEachOther(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		for name, first := range map[string]func(ctx context.Context, way auth.ProviderIdentity) error{
			"a note": func(ctx context.Context, way auth.ProviderIdentity) error {
				_, err := h.UpdateProviderIdentities(ctx, noted(way.ID, "x"))
				return err
			},
			"a proof": func(ctx context.Context, way auth.ProviderIdentity) error {
				return h.VerifyEmail(ctx, way.IdentityID, way.Email)
			},
		} {
			way := h.made(t, auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{{Provider: "vouching", EntityID: name, Email: "ada@example.com"}}}).Providers[0]
			said := map[string]auth.Input{
				"a note":  input("name", name, "email", "ada@example.com", "verified", true),
				"a proof": input("name", name, "email", "ada@example.com", "metadata", metadata{"note": "x"}),
			}[name]
			must(t, h.meanwhile(t, func(ctx context.Context) error { return first(ctx, way) }, func() error {
				_, err := h.Authenticate(t.Context(), "vouching", said)
				return err
			}))
			now, err := h.RetrieveProviderIdentity(t.Context(), way.ID)
			if err != nil || now.UserMetadata["note"] != "x" || now.EmailVerifiedAt.IsZero() {
				t.Errorf("%s comes between: %+v (%v), want both the note and the proof", name, now, err)
			}
		}
	})
}

func TestNobodyIsGivenAWayToSignInToAnIdentityThatGoes(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.made(t, drafts("ada")[0])
		err := h.meanwhile(t, func(ctx context.Context) error { return h.DeleteAuthIdentities(ctx, ada.ID) }, func() error {
			_, err := h.CreateProviderIdentities(t.Context(), vouched(ada.ID, "countess"))
			return err
		})
		if !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("%v, want ErrNotFound", err)
		}
	})
}

func TestAWayThatIsMovedMeanwhileIsUnlinkedWhereItIs(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada, newcomer := h.register(t, "ada@example.com", "correct horse"), h.made(t, auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{vouched("", "newcomer")}})
		_, token, cookie := h.open(t, ada, "user")
		must(t, h.meanwhile(t, func(ctx context.Context) error { return h.Join(ctx, newcomer.ID, ada.ID) }, func() error {
			return h.DeleteProviderIdentities(t.Context(), newcomer.Providers[0].ID)
		}))
		if now, err := h.RetrieveAuthIdentity(t.Context(), ada.ID); err != nil || len(now.Providers) != 1 {
			t.Errorf("Ada can sign in as %+v (%v), want by password alone", now.Providers, err)
		}
		h.opens(t, "afterwards", token, cookie, auth.ErrSession, auth.ErrSession)
	})
}

func TestMoreThanOneStatementHoldsAreMadeChangedAndDeletedAtOnce(t *testing.T) {
	const n = 1_201 // of which a statement takes 500
	each(t, func(t *testing.T, h house) {
		people := make([]auth.IdentityDraft, n)
		for i := range people {
			people[i].Providers = []auth.ProviderIdentityDraft{{Provider: "vouching", EntityID: fmt.Sprint("u", i)}}
		}
		made, err := h.CreateAuthIdentities(t.Context(), people...)
		must(t, err)
		more := make([]auth.ProviderIdentityDraft, n)
		for i := range more {
			more[i] = auth.ProviderIdentityDraft{IdentityID: made[i%10].ID, Provider: "oidc", EntityID: fmt.Sprint("u", i)}
		}
		ways, err := h.CreateProviderIdentities(t.Context(), more...)
		must(t, err)
		if len(made) != n || len(ways) != n || made[n-1].Providers[0].EntityID != fmt.Sprint("u", n-1) || ways[n-1].EntityID != fmt.Sprint("u", n-1) {
			t.Fatalf("made %d and %d, want %d each, in order", len(made), len(ways), n)
		}
		ids, wayIDs := make([]auth.IdentityID, n), make([]string, n)
		updates, wayUpdates := make([]auth.IdentityUpdate, n), make([]auth.ProviderIdentityUpdate, n)
		for i := range n {
			ids[i], wayIDs[i] = made[i].ID, ways[i].ID
			updates[i], wayUpdates[i] = auth.IdentityUpdate{ID: ids[i]}, auth.ProviderIdentityUpdate{ID: wayIDs[i]}
		}
		updates[n-1], wayUpdates[n-1] = planned(ids[n-1], "pro"), noted(wayIDs[n-1], "x")
		if now, err := h.UpdateAuthIdentities(t.Context(), updates...); err != nil || len(now) != n || now[n-1].AppMetadata["plan"] != "pro" {
			t.Errorf("%d identities are updated (%v), want %d", len(now), err, n)
		}
		if now, err := h.UpdateProviderIdentities(t.Context(), wayUpdates...); err != nil || len(now) != n || now[n-1].UserMetadata["note"] != "x" {
			t.Errorf("%d ways are updated (%v), want %d", len(now), err, n)
		}
		if all, count, err := h.ListAndCountAuthIdentities(t.Context(), auth.IdentityFilter{IDs: ids}, auth.Page{Limit: n}); err != nil || len(all) != n || count != n {
			t.Errorf("%d of %d are found (%v), want %d", len(all), count, err, n)
		}
		if _, err := h.CreateAuthIdentities(t.Context(), people...); !errors.Is(err, auth.ErrEntityTaken) {
			t.Errorf("all again: %v, want ErrEntityTaken", err)
		}
		must(t, h.DeleteProviderIdentities(t.Context(), wayIDs...))
		if left := h.count(t, "provider_identity"); left != n {
			t.Errorf("%d ways are left, want %d", left, n)
		}
		must(t, h.DeleteAuthIdentities(t.Context(), ids...))
		if left := h.count(t, "auth_identity") + h.count(t, "provider_identity"); left != 0 {
			t.Errorf("%d rows are left", left)
		}
	})
}

func TestTenThousandIDsCanBeAskedFor(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.made(t, drafts("ada")[0])
		ids, ways := []auth.IdentityID{ada.ID}, []string{ada.Providers[0].ID}
		for len(ids) < 10_000 {
			ids = append(ids, auth.IdentityID(id.New("authid")))
			ways = append(ways, id.New(""))
		}
		if found, n, err := h.ListAndCountAuthIdentities(t.Context(), auth.IdentityFilter{IDs: ids}, auth.Page{}); err != nil || len(found) != 1 || n != 1 {
			t.Errorf("%d of %d identities (%v), want Ada", len(found), n, err)
		}
		if found, n, err := h.ListAndCountProviderIdentities(t.Context(), auth.ProviderIdentityFilter{IDs: ways, IdentityIDs: ids}, auth.Page{}); err != nil || len(found) != 1 || n != 1 {
			t.Errorf("%d of %d provider identities (%v), want Ada's", len(found), n, err)
		}
		updates, wayUpdates := make([]auth.IdentityUpdate, len(ids)), make([]auth.ProviderIdentityUpdate, len(ids))
		for i := range ids {
			updates[i], wayUpdates[i] = planned(ids[i], "pro"), noted(ways[i], "x")
		}
		if _, err := h.UpdateAuthIdentities(t.Context(), updates...); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("update identities: %v, want ErrNotFound", err)
		}
		if _, err := h.UpdateProviderIdentities(t.Context(), wayUpdates...); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("update provider identities: %v, want ErrNotFound", err)
		}
		must(t, h.DeleteProviderIdentities(t.Context(), ways...))
		must(t, h.DeleteAuthIdentities(t.Context(), ids...))
		if left := h.count(t, "auth_identity"); left != 0 {
			t.Errorf("%d identities are left", left)
		}
	})
}

func TestHooksAreAskedBeforeADeletionAboutWhatMayBeThere(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.made(t, drafts("ada")[0])
		var asked []auth.IdentityID
		h.OnDelete(func(ctx context.Context, ids []auth.IdentityID) error {
			asked = ids
			_, err := h.RetrieveAuthIdentity(ctx, ada.ID)
			return err
		})
		must(t, h.DeleteAuthIdentities(t.Context(), "\x00", ada.ID, nobody))
		if want := []auth.IdentityID{ada.ID, nobody}; !slices.Equal(asked, want) {
			t.Errorf("asked about %q, want %q", asked, want)
		}
	})
}

func TestPagesCoverTheListInOrder(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		var names []string
		for i := range 60 {
			names = append(names, fmt.Sprintf("u%02d", i))
		}
		made, err := h.CreateAuthIdentities(t.Context(), drafts(names...)...)
		must(t, err)
		byID := make([]auth.IdentityID, len(made))
		for i, m := range made {
			byID[i] = m.ID
		}
		slices.Sort(byID)
		for _, c := range []struct {
			page auth.Page
			want []auth.IdentityID
		}{
			{auth.Page{}, byID[:50]},
			{auth.Page{Offset: 55}, byID[55:]},
			{auth.Page{Offset: 60}, nil},
			{auth.Page{Limit: 7, Offset: 10, Order: "created_at"}, byID[10:17]}, // all are of one moment
			{auth.Page{Limit: 1000}, byID},
			{auth.Page{Limit: auth.CountOnly}, nil},
		} {
			found, count, err := h.ListAndCountAuthIdentities(t.Context(), auth.IdentityFilter{Provider: "vouching"}, c.page)
			var got []auth.IdentityID
			for _, i := range found {
				got = append(got, i.ID)
			}
			if err != nil || count != 60 || !slices.Equal(got, c.want) {
				t.Errorf("%+v: %v of %d (%v), want %v of 60", c.page, got, count, err, c.want)
			}
		}
		for order, want := range map[string]string{"entity_id": "u00 u01 u02", "-entity_id": "u59 u58 u57"} {
			found, count, err := h.ListAndCountProviderIdentities(t.Context(), auth.ProviderIdentityFilter{Provider: "vouching"}, auth.Page{Limit: 3, Order: order})
			var got []string
			for _, p := range found {
				got = append(got, p.EntityID)
			}
			if err != nil || count != 60 || strings.Join(got, " ") != want {
				t.Errorf("by %s: %v of %d (%v), want %s of 60", order, got, count, err, want)
			}
		}
		for _, p := range []auth.Page{{Order: "secret"}, {Order: "-"}, {Order: "ID"}, {Order: "id; DROP TABLE x"}, {Limit: -2}, {Offset: -1, Limit: auth.CountOnly}} {
			_, _, identities := h.ListAndCountAuthIdentities(t.Context(), auth.IdentityFilter{}, p)
			_, _, ways := h.ListAndCountProviderIdentities(t.Context(), auth.ProviderIdentityFilter{}, p)
			for _, err := range []error{identities, ways} {
				if !errors.Is(err, auth.ErrOrder) && !errors.Is(err, auth.ErrQuery) {
					t.Errorf("%+v: %v, want it refused", p, err)
				}
			}
		}
	})
}

func TestAnUpdateOfAnIdentityThatIsDeletedMeanwhileMakesNobody(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		for n := range 10 {
			ada := h.made(t, drafts(fmt.Sprint("ada", n))[0])
			for i, err := range databasetest.Together(4, func(i int) (err error) {
				switch i {
				case 0:
					return h.DeleteAuthIdentities(t.Context(), ada.ID)
				case 1:
					_, err = h.UpdateAuthIdentities(t.Context(), planned(ada.ID, "pro"))
				case 2:
					_, err = h.CreateProviderIdentities(t.Context(), vouched(ada.ID, fmt.Sprint("countess", n)))
				case 3:
					err = h.DeleteProviderIdentities(t.Context(), ada.Providers[0].ID)
				}
				if errors.Is(err, auth.ErrNotFound) {
					return nil
				}
				return err
			}) {
				if err != nil {
					t.Errorf("%d: %v", i, err)
				}
			}
			if left := h.count(t, "auth_identity") + h.count(t, "provider_identity"); left != 0 {
				t.Fatalf("%d rows are left", left)
			}
		}
	})
}
