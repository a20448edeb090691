package console

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/strictjson"
)

// userEdit is the page by which a user is changed.
type userEdit struct {
	User person
	Now  []shownField // what is kept by now, if that has changed since the page was opened
}

// shownField is a field and what is kept in it.
type shownField struct{ Name, Value string }

func openUserEdit(in *inside) error {
	u, err := in.person(in.r.PathValue("id"))
	if err != nil {
		return err
	}
	if p := in.userPage(u); !p.May.Edit {
		return p.whyNot(false)
	}
	metadata, err := indented(u.Metadata)
	if err != nil {
		return err
	}
	f := filled("first_name", u.FirstName, "last_name", u.LastName, "avatar_url", u.AvatarURL, "metadata", metadata, "version", version(u))
	return in.edit(u, f, nil)
}

// version tells the state of a user from later ones.
func version(u person) string {
	if u.UpdatedAt == nil {
		return ""
	}
	return u.UpdatedAt.UTC().Format(time.RFC3339Nano)
}

// edit shows the form.
func (in *inside) edit(u person, f form, wrong error) error {
	page := userEdit{User: u}
	if errors.Is(wrong, errChanged) {
		metadata, err := indented(u.Metadata)
		if err != nil {
			return err
		}
		for _, kept := range []shownField{{"first_name", u.FirstName}, {"last_name", u.LastName}, {"avatar_url", u.AvatarURL}, {"metadata", metadata}} {
			if kept.Value != normal(f.Value(kept.Name)) {
				page.Now = append(page.Now, kept)
			}
		}
		f.values.Set("version", version(u))
	}
	return in.showAgain("user_edit", view{Title: "user.edit_title", About: u.Called(), Back: &crumb{u.Path(), "user.back"}, Form: f, Data: page}, wrong)
}

// normal is what was typed with the ends of lines that we have; browsers send others.
func normal(typed string) string { return strings.ReplaceAll(typed, "\r\n", "\n") }

// saveUser changes a user, unless somebody else has done so since the page was opened: nobody overwrites what they have not seen.
func saveUser(in *inside) error {
	f, meant := in.own()
	if meant != nil && !errors.Is(meant, errOtherAccount) {
		return meant
	}
	u, err := in.person(in.r.PathValue("id"))
	switch {
	case err != nil:
		return err
	case meant != nil:
		return in.edit(u, f, meant)
	}
	change := map[string]any{"first_name": orNull(f.FirstName), "last_name": orNull(f.LastName), "avatar_url": orNull(f.Value("avatar_url"))}
	if err = changeMetadata(change, u.Metadata, f.Value("metadata")); err == nil && f.Value("version") != version(u) {
		err = errChanged
	}
	if err == nil {
		err = in.api(http.MethodPost, in.onUser(""), change, nil)
	}
	switch {
	case err == nil:
		return in.done(u.Path(), "user_saved", "")
	case errors.Is(err, errSignedOut):
		return err
	}
	return in.edit(u, f, err)
}

// orNull is what was typed; nothing is null.
func orNull(typed string) any {
	if typed = strings.TrimSpace(typed); typed == "" {
		return nil
	}
	return typed
}

// changeMetadata adds to a change what makes of the metadata that is kept what was typed. The API puts the one into the other: what is to
// go is named, with an empty text.
func changeMetadata(change map[string]any, kept json.RawMessage, typed string) error {
	if strings.TrimSpace(typed) == "" {
		if len(kept) > 0 && string(kept) != "null" {
			change["metadata"] = nil
		}
		return nil
	}
	wanted, err := readMetadata(typed)
	if err != nil {
		return err
	}
	had := map[string]json.RawMessage{}
	if len(kept) > 0 && string(kept) != "null" {
		if err := json.Unmarshal(kept, &had); err != nil {
			return err
		}
	}
	metadata := maps.Clone(wanted)
	for name := range had {
		if _, stays := wanted[name]; !stays {
			metadata[name] = json.RawMessage(`""`)
		}
	}
	if len(metadata) > 0 {
		change["metadata"] = metadata
	}
	return nil
}

// syntaxError says where in what was typed something is wrong.
type syntaxError struct {
	error
	line, column int
}

func (e syntaxError) Unwrap() error { return e.error }

// readMetadata reads a JSON object that somebody has typed, and says where it is none.
func readMetadata(typed string) (map[string]json.RawMessage, error) {
	var metadata map[string]json.RawMessage
	err := json.Unmarshal([]byte(typed), &metadata)
	syntax := new(json.SyntaxError)
	switch {
	case errors.As(err, &syntax):
		line, column := position(typed, int(syntax.Offset))
		return nil, syntaxError{errMetadata, line, column}
	case err != nil || metadata == nil:
		return nil, errNoObject
	}
	if err := strictjson.Unmarshal([]byte(typed), &metadata); err != nil {
		return nil, errTwice
	}
	return metadata, nil
}

// position is the line and the character in it after so many bytes, from 1.
func position(text string, bytes int) (line, column int) {
	before := normal(text[:min(max(bytes, 0), len(text))])
	line = strings.Count(before, "\n") + 1
	return line, max(1, len([]rune(before[strings.LastIndexByte(before, '\n')+1:])))
}

func itoa(n int) string { return strconv.Itoa(n) }
