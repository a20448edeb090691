package user_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

type metadata = map[string]any

// mergeCases are how an update changes the metadata of users and invites alike.
var mergeCases = []struct {
	name      string
	old       metadata
	with      user.Field[metadata]
	want      metadata
	untouched bool
}{
	{"a key is added", metadata{"a": "1"}, user.Set(metadata{"b": "2"}), metadata{"a": "1", "b": "2"}, false},
	{"a key is replaced", metadata{"a": "1", "b": true}, user.Set(metadata{"a": 2.5}), metadata{"a": 2.5, "b": true}, false},
	{"an empty text removes", metadata{"a": "1", "b": "2"}, user.Set(metadata{"a": ""}), metadata{"b": "2"}, false},
	{"the last key is removed", metadata{"a": "1"}, user.Set(metadata{"a": ""}), metadata{}, false},
	{"null is kept", metadata{"a": "1"}, user.Set(metadata{"a": nil}), metadata{"a": nil}, false},
	{"a nested object is replaced", metadata{"o": metadata{"x": 1.0, "y": 2.0}}, user.Set(metadata{"o": metadata{"x": 3.0}}), metadata{"o": metadata{"x": 3.0}}, false},
	{"a nested empty text stays", metadata{}, user.Set(metadata{"o": metadata{"x": ""}, "l": []any{""}}), metadata{"o": metadata{"x": ""}, "l": []any{""}}, false},
	{"something comes to nothing", nil, user.Set(metadata{"a": "1"}), metadata{"a": "1"}, false},
	{"cleared", metadata{"a": "1"}, user.Clear[metadata](), nil, false},
	{"empty changes nothing", metadata{"a": "1"}, user.Set(metadata{}), metadata{"a": "1"}, true},
	{"empty on nothing changes nothing", nil, user.Set(metadata{}), nil, true},
	{"nil changes nothing", metadata{"a": "1"}, user.Set[metadata](nil), metadata{"a": "1"}, true},
	{"not set", metadata{"a": "1"}, user.Field[metadata]{}, metadata{"a": "1"}, true},
}

func TestMetadataIsMergedAtTheTop(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		for _, c := range mergeCases {
			t.Run(c.name, func(t *testing.T) {
				was := must(b.CreateUsers(t.Context(), user.Draft{Metadata: c.old}))(t)[0]
				now := must(b.UpdateUsers(t.Context(), user.Update{ID: was.ID, Metadata: c.with}))(t)[0]
				if !reflect.DeepEqual(now.Metadata, c.want) {
					t.Errorf("got %#v, want %#v", now.Metadata, c.want)
				}
				if now.UpdatedAt.Equal(was.UpdatedAt) != c.untouched {
					t.Errorf("changed at %v, before %v, want it unchanged: %t", now.UpdatedAt, was.UpdatedAt, c.untouched)
				}
			})
		}
	})
}

func TestMetadataOfInvitesIsMergedTheSame(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		for i, c := range mergeCases {
			t.Run(c.name, func(t *testing.T) {
				was := must(b.CreateInvites(t.Context(), user.InviteDraft{Email: numbered(len(mergeCases))[i], Metadata: c.old}))(t)[0]
				now := must(b.UpdateInvites(t.Context(), user.InviteUpdate{ID: was.ID, Metadata: c.with}))(t)[0]
				if !reflect.DeepEqual(now.Metadata, c.want) {
					t.Errorf("got %#v, want %#v", now.Metadata, c.want)
				}
				if now.UpdatedAt.Equal(was.UpdatedAt) != c.untouched {
					t.Errorf("changed at %v, before %v, want it unchanged: %t", now.UpdatedAt, was.UpdatedAt, c.untouched)
				}
			})
		}
	})
}

func TestMetadataThatCannotBeKeptIsRefused(t *testing.T) {
	nest := metadata{}
	for range 5000 {
		nest = metadata{"": nest}
	}
	each(t, func(t *testing.T, b bench) {
		full := metadata{"a": strings.Repeat("x", 16<<10-len(`{"a":""}`))}
		ada := must(b.CreateUsers(t.Context(), user.Draft{Metadata: full}))(t)[0]
		invite := must(b.CreateInvites(t.Context(), user.InviteDraft{Email: "bob@example.com", Metadata: full}))(t)[0]
		for name, bad := range map[string]metadata{
			"a byte too much":        {"a": full["a"].(string) + "x"},
			"NUL":                    {"a": "x\x00"},
			"NUL in a key":           {"\x00": "x"},
			"NUL after a backslash":  {"a": "\\\x00"},
			"NUL deep inside":        {"a": []any{metadata{"b": "\x00"}}},
			"NUL as an escape":       {"a": json.RawMessage(`"\u0000"`)},
			"a channel":              {"a": make(chan int)},
			"infinity":               {"a": math.Inf(1)},
			"a number beyond any":    {"a": json.Number("1e400")},
			"a number that is none":  {"a": json.Number("one")},
			"text that is not UTF-8": {"a": "\xff"},
			"a key that is not":      {"\xff": "a"},
			"nested without end":     nest,
		} {
			_, err := b.CreateUsers(t.Context(), user.Draft{Metadata: bad})
			wantErr(t, name+", new user", err, user.ErrInvalid)
			_, _, err = b.Ensure(t.Context(), user.Draft{Metadata: bad})
			wantErr(t, name+", ensured user", err, user.ErrInvalid)
			_, err = b.UpdateUsers(t.Context(), user.Update{ID: ada.ID, Metadata: user.Set(bad)})
			wantErr(t, name+", user", err, user.ErrInvalid)
			_, err = b.CreateInvites(t.Context(), user.InviteDraft{Email: "eve@example.com", Metadata: bad})
			wantErr(t, name+", new invite", err, user.ErrInvalid)
			_, err = b.UpdateInvites(t.Context(), user.InviteUpdate{ID: invite.ID, Metadata: user.Set(bad)})
			wantErr(t, name+", invite", err, user.ErrInvalid)
		}
		users := must(b.ListUsers(t.Context(), user.Filter{}, user.Page{}))(t)
		invites := must(b.ListInvites(t.Context(), user.InviteFilter{}, user.Page{}))(t)
		if len(users) != 1 || len(invites) != 1 || !reflect.DeepEqual(users[0], ada) || !reflect.DeepEqual(invites[0], invite) {
			t.Errorf("users %d and invites %d, want one of each, as they were", len(users), len(invites))
		}
	})
}

func TestMetadataComesBackAsItWas(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		want := metadata{
			"text": `\u0000 is no NUL, "quoted", \\, 'single', ?, <b>&`, "unicode": "é 😀 \u2028", "": "no name", "empty": "",
			"list": []any{1.0, "x", nil, true}, "object": metadata{"a": metadata{}}, "big": 1e308, "exact": 9007199254740991.0,
		}
		made := must(b.CreateUsers(t.Context(), user.Draft{Metadata: want}))(t)[0]
		if !reflect.DeepEqual(made.Metadata, want) {
			t.Errorf("got %#v, want %#v", made.Metadata, want)
		}
		deep := any("x")
		for range 8000 {
			deep = []any{deep}
		}
		if u := must(b.CreateUsers(t.Context(), user.Draft{Metadata: metadata{"a": deep}}))(t)[0]; !reflect.DeepEqual(u.Metadata, metadata{"a": deep}) {
			t.Error("what is nested deep came back otherwise")
		}
		ensured, _, err := b.Ensure(t.Context(), user.Draft{Metadata: metadata{"n": 1, "l": []string{"x"}, "half": json.RawMessage(`"\ud800"`)}})
		check(t, err)
		want["text"] = "changed" // a user is a plain value
		if read := must(b.RetrieveUser(t.Context(), ensured.ID))(t); !reflect.DeepEqual(read.Metadata, ensured.Metadata) {
			t.Errorf("made %#v, read %#v", ensured.Metadata, read.Metadata)
		}
	})
}

func TestApplicationChecksTheWholeMetadata(t *testing.T) {
	errTeam := fault.New(fault.Invalid, "team_missing", "metadata.team is missing.")
	each(t, func(t *testing.T, plain bench) {
		type asked struct {
			of       user.MetadataOf
			metadata metadata
		}
		var asks []asked
		broken := errors.New("the directory of teams does not answer")
		b := plain
		b.Service = plain.with(t, user.Options{CheckMetadata: func(_ context.Context, of user.MetadataOf, m metadata) error {
			asks = append(asks, asked{of, m})
			switch {
			case m["team"] == "broken":
				return broken
			case m["team"] == nil:
				return errTeam
			}
			return nil
		}}, secret('a'))
		want := func(what string, want ...asked) {
			t.Helper()
			if !reflect.DeepEqual(asks, want) {
				t.Errorf("%s: asked %v, want %v", what, asks, want)
			}
			asks = nil
		}
		team := func(name string) metadata { return metadata{"team": name} }

		u := must(b.CreateUsers(t.Context(), user.Draft{Email: "ada@example.com", Metadata: team("a")}))(t)[0]
		want("create", asked{user.OfUser, team("a")})
		i := must(b.CreateInvites(t.Context(), user.InviteDraft{Email: "bob@example.com", Metadata: team("a")}))(t)[0]
		want("invite", asked{user.OfInvite, team("a")})
		must(b.UpdateUsers(t.Context(), user.Update{ID: u.ID, Metadata: user.Set(metadata{"n": 1})}))(t)
		want("update", asked{user.OfUser, metadata{"team": "a", "n": 1.0}})
		must(b.UpdateInvites(t.Context(), user.InviteUpdate{ID: i.ID, Metadata: user.Set(metadata{"n": 1})}))(t)
		want("update of an invite", asked{user.OfInvite, metadata{"team": "a", "n": 1.0}})
		must(b.UpdateUsers(t.Context(), named(u.ID, "Ada"), user.Update{ID: u.ID, Metadata: user.Set(metadata{})}))(t)
		must(b.UpdateInvites(t.Context(), user.InviteUpdate{ID: i.ID, Roles: user.Set([]string{"a"})}))(t)
		want("what does not touch it")

		was := databasetest.Dump(t, b.db)
		b.said.take()
		for what, call := range map[string]func(m metadata, f user.Field[metadata]) error{
			"create": func(m metadata, _ user.Field[metadata]) error {
				_, err := b.CreateUsers(t.Context(), user.Draft{Email: "x@example.com", Metadata: m})
				return err
			},
			"ensure": func(m metadata, _ user.Field[metadata]) error {
				_, _, err := b.Ensure(t.Context(), user.Draft{Email: "x@example.com", Metadata: m})
				return err
			},
			"invite": func(m metadata, _ user.Field[metadata]) error {
				_, err := b.CreateInvites(t.Context(), user.InviteDraft{Email: "x@example.com", Metadata: m})
				return err
			},
			"invite each": func(m metadata, _ user.Field[metadata]) error {
				results, err := b.InviteEach(t.Context(), user.InviteDraft{Email: "x@example.com", Metadata: m})
				if err == nil {
					err = results[0].Err
				}
				return err
			},
			"update": func(_ metadata, f user.Field[metadata]) error {
				_, err := b.UpdateUsers(t.Context(), user.Update{ID: u.ID, Metadata: f})
				return err
			},
			"update of an invite": func(_ metadata, f user.Field[metadata]) error {
				_, err := b.UpdateInvites(t.Context(), user.InviteUpdate{ID: i.ID, Metadata: f})
				return err
			},
		} {
			err := call(nil, user.Clear[metadata]())
			if f, ok := fault.Of(err); !errors.Is(err, errTeam) || !ok || f.Message != errTeam.Message {
				t.Errorf("%s: %v, want the fault", what, err)
			}
			err = call(team("broken"), user.Set(team("broken")))
			if !errors.Is(err, broken) || fault.KindOf(err) != fault.Internal {
				t.Errorf("%s: %v, want the failure, which is no fault", what, err)
			}
		}
		_, err := b.CreateUsers(t.Context(), user.Draft{Email: "x@example.com", Metadata: team("a")}, user.Draft{}, user.Draft{Metadata: team("broken")})
		if !errors.Is(err, broken) || fault.KindOf(err) != fault.Internal {
			t.Errorf("of several: %v, want the failure, whatever else is wrong", err)
		}
		if !reflect.DeepEqual(was, databasetest.Dump(t, b.db)) {
			t.Error("something was written")
		}
		b.wantSaid(t)
	})
}
