package console

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// The most bytes of a form: of one for everybody, as of a body of the API, and of one for who has an account. That is read a good deal
// further than the API takes what is in it, so that a list or a text that is too long is shown again, to be mended.
const (
	maxForm       = 64 << 10
	maxFormInside = 256 << 10
)

// form is what a form may send; other fields are passed over. The password is out of the templates' reach.
type form struct {
	Email     string
	FirstName string
	LastName  string
	Token     string // of the link: of an invite, to set a new password, to confirm an address
	Verify    string // the token of the link that proves an address
	As        string // the session that accepts an invite, in which it is empty for whoever the password proves; or that confirms or proves an address; of a form inside, the account
	State     string // the sign-in that waits for a mail
	Code      string // that was mailed
	Next      string // where to go on to after signing in, as it was sent
	Leave     string // the session to end, so that somebody else accepts an invite
	password  string

	values url.Values // everything else
}

// Value is what was typed into a field that is no secret; empty: nothing. Of several of one name it is the first.
func (f form) Value(name string) string {
	if strings.Contains(name, "password") {
		return ""
	}
	return cmp.Or(f.values.Get(name), map[string]string{"email": f.Email, "first_name": f.FirstName, "last_name": f.LastName}[name])
}

// Values are all that have the name.
func (f form) Values(name string) []string { return f.values[name] }

// filled is a form with what is there already, before anything is typed.
func filled(pairs ...string) form {
	f := form{values: url.Values{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		f.values.Add(pairs[i], pairs[i+1])
	}
	return f
}

// readForm reads the body, of at most so many bytes, refusing what is not text: not every later reader would see the same in it. It can
// be read again.
func readForm(w http.ResponseWriter, r *http.Request, most int64) (form, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		return form{}, errMediaType
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return form{}, errTooLarge
	case err != nil:
		return form{}, errForm
	}
	r.Body = io.NopCloser(bytes.NewReader(data))
	values, err := url.ParseQuery(string(data))
	if err != nil {
		return form{}, errForm
	}
	for name, given := range values {
		if text := name + strings.Join(given, ""); !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return form{}, errForm
		}
	}
	return form{
		Email: values.Get("email"), FirstName: values.Get("first_name"), LastName: values.Get("last_name"),
		Token: values.Get("token"), Verify: values.Get("verify"), As: values.Get("as"),
		State: values.Get("state"), Code: values.Get("code"), Next: values.Get("next"), Leave: values.Get("leave"), password: values.Get("password"), values: values,
	}, nil
}

// credentials is what the provider reads.
func (f form) credentials() (auth.Input, error) {
	return json.Marshal(map[string]string{"email": f.Email, "password": f.password, "first_name": f.FirstName, "last_name": f.LastName})
}

// complete says what is missing of the credentials.
func (f form) complete() error {
	switch {
	case f.Email == "":
		return errNoEmail
	case f.password == "":
		return errNoPassword
	}
	return nil
}
