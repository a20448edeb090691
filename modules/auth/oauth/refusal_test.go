package oauth_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/oauth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// What a token endpoint refuses us for is the operator's to mend, so the log says it; who signs in is told that it does not work.
func TestTheLogSaysWhatToMendAtAVendorThatRefusesUs(t *testing.T) {
	const secret = "s3cret/of the-client" // which is spelt otherwise in a form and in a header
	var answer map[string]string
	var verifier string
	token := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		verifier = r.PostFormValue("code_verifier")
		said := strings.NewReplacer("VERIFIER", verifier).Replace(answer["error_description"])
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(map[bool]int{true: http.StatusUnauthorized, false: http.StatusBadRequest}[answer["error"] == "invalid_client"])
		_ = json.NewEncoder(w).Encode(map[string]string{"error": answer["error"], "error_description": said})
	}))
	t.Cleanup(token.Close)
	client, err := oauth.New(oauth.Config{AuthURL: token.URL, TokenURL: token.URL, ClientID: "app", ClientSecret: secret, PrivateAddresses: true})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.New(make([]byte, keyring.MinSecret))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s, err := auth.New(auth.Params{DB: databasetest.SQLite(t).Open(t, auth.Migrations()), Keys: keys,
		Log: slog.New(slog.NewJSONHandler(&log, nil)), Providers: []auth.Provider{vendor{Client: client}}})
	if err != nil {
		t.Fatal(err)
	}
	const left = "what it says is left out"
	for _, c := range []struct{ code, says, want string }{
		{"invalid_client", "no such client", "it answers 401, invalid_client: client_id or client_secret is wrong, or the vendor wants the secret sent in another way; it says: no such client"},
		{"invalid_client", "", "or the vendor wants the secret sent in another way"},
		{"unauthorized_client", "not for web", "unauthorized_client: this client may not sign people in by an authorization code there: allow it where the client is registered; it says: not for web"},
		{"unsupported_grant_type", "only tokens", "unsupported_grant_type: the vendor takes no authorization codes at this address; it says: only tokens"},
		{"invalid_scope", "email?", "invalid_scope: scopes has one that the vendor does not know, or does not give to this client; it says: email?"},
		{"invalid_request", "resource is missing", "it answers 400, invalid_request: the vendor misses something in the request, or wants something not to be there; it says: resource is missing"},
		{"invalid_request", "a\r\nlevel=ERROR\x1b[31m \u202ebidi\x00 b", "it says: a level=ERROR [31m bidi b"},
		{"invalid_request", strings.Repeat("long ", 4000), "it says: " + strings.Repeat("long ", 40) + "…"},
		{"invalid_client", "not " + secret, left},
		{"invalid_client", "not s3cret/o…", left},
		{"invalid_client", "not " + url.QueryEscape(secret), left},
		{"invalid_client", "not S3CRET/OF THE", left},
		{"invalid_request", "the code is the-code-of-ada", left},
		{"invalid_request", "code_verifier=VERIFIER", left},
		{"invalid_request", "the\ncode-of-ada", left},
		{"secret_error_of_its_own", "unheard of", "it answers 400"},
	} {
		log.Reset()
		answer = map[string]string{"error": c.code, "error_description": c.says}
		flow, err := s.Begin(t.Context(), "vendor", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Finish(t.Context(), "vendor", auth.Input(`{"state":"`+flow.ID+`","code":"the-code-of-ada"}`))
		if !errors.Is(err, auth.ErrProviderUnavailable) {
			t.Errorf("%s: %v", c.code, err)
		}
		var line struct{ Provider, Error string }
		if err := json.Unmarshal(log.Bytes(), &line); err != nil {
			t.Errorf("%s: the log is no one line: %v: %s", c.code, err, log.String())
		}
		if line.Provider != "vendor" || !strings.HasSuffix(line.Error, c.want) && !strings.Contains(line.Error, left) || strings.Contains(line.Error, left) != (c.want == left) {
			t.Errorf("%s, %.40q: the log says of %s: %q; want %q", c.code, c.says, line.Provider, line.Error, c.want)
		}
		for _, private := range []string{secret, url.QueryEscape(secret), "s3cret/o", "the-code-of-ada", verifier, "unheard of", "secret_error"} {
			if private != "" && strings.Contains(strings.ToLower(line.Error), strings.ToLower(private)) {
				t.Errorf("%s: the log tells %q: %s", c.code, private, line.Error)
			}
		}
	}
	for _, id := range []string{"", "a", "ap", "app", "1234567890.apps.example.com"} { // behind which the secret is spelt otherwise
		header := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id) + ":" + url.QueryEscape(secret)))
		for _, shown := range []string{header, header[:len(header)-4], header[len(header)-12:]} {
			if got := oauth.Refusal("invalid_client", "cannot read Basic "+shown, secret); !strings.HasSuffix(got, left+", as there is a secret in it") {
				t.Errorf("%q: %s", id, got)
			}
		}
	}
	if got := oauth.Refusal("invalid_client", "the secret is wrong", "x", "abc"); !strings.HasSuffix(got, "it says: the secret is wrong") { // it has none of a short one
		t.Error(got)
	}
	if got := oauth.Refusal("invalid_grant", "no"); got != "" { // which is the caller's fault
		t.Errorf("%q", got)
	}
}
