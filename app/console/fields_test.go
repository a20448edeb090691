package console_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/user"
)

var (
	inputs     = regexp.MustCompile(`<input[^>]*>`)
	attributes = regexp.MustCompile(`\s([a-z-]+)(?:="([^"]*)")?`)
)

// What is typed as a password is masked, may be pasted and filled in by a password manager, and nothing is asked of it but
// its length (ASVS 6.2.5 to 6.2.7).
func TestPasswordsAreMaskedAndMayBePastedAndFilledIn(t *testing.T) {
	files, err := filepath.Glob("pages/*.html")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d pages, %v", len(files), err)
	}
	found := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		page := string(data)
		if strings.Count(page, "<script") != strings.Count(page, `<script src="{{path "/console.js"}}" defer></script>`) || strings.Contains(page, `autocomplete="off"`) || regexp.MustCompile(`\son[a-z]+=`).MatchString(page) {
			t.Errorf("%s has a script, or keeps browsers from filling it in", file)
		}
		passwords, names := 0, 0
		for _, input := range inputs.FindAllString(page, -1) {
			has := map[string]string{}
			for _, a := range attributes.FindAllStringSubmatch(input, -1) {
				has[a[1]] = a[2]
			}
			if has["autocomplete"] == "username" || has["autocomplete"] == "email" {
				names++
			}
			if !strings.Contains(has["name"], "password") && has["type"] != "password" {
				continue
			}
			passwords++
			if has["type"] != "password" || has["autocomplete"] != "current-password" && has["autocomplete"] != "new-password" {
				t.Errorf("%s: %s is not masked, or does not say which password it is", file, input)
			}
			for _, bound := range []string{"maxlength", "minlength", "pattern", "readonly", "value"} {
				if _, there := has[bound]; there {
					t.Errorf("%s: %s has %s", file, input, bound)
				}
			}
		}
		for _, field := range fieldsIn.FindAllStringSubmatch(page, -1) { // which parts.html makes an input of
			words := field[2]
			if strings.Contains(words, `"username"`) || strings.Contains(words, `"email" "email"`) {
				names++
			}
			if strings.Contains(field[1], "password") || strings.Contains(words, `"password"`) {
				passwords++
				if !strings.Contains(words, `"password"`) || !strings.Contains(words, `"current-password"`) && !strings.Contains(words, `"new-password"`) {
					t.Errorf("%s: the field %s is not masked, or does not say which password it is", file, field[0])
				}
			}
		}
		names += strings.Count(page, `{{template "address" `) + strings.Count(page, `{{template "whose" `)
		if passwords > 0 && names == 0 {
			t.Errorf("%s asks for a password, and a manager does not see whose", file)
		}
		found += passwords
	}
	if found < 4 {
		t.Errorf("%d fields for passwords are found, want those to sign in, to join, to reset, and to change the address", found)
	}
}

// Wherever somebody is signed in, the page lets them sign out (ASVS 7.4.4).
func TestEveryPageOfWhoIsSignedInLetsThemSignOut(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com", user.RoleAdmin)
		_, hers := s.invite(t, "grace@example.com")
		b := s.browser(t)
		signsOut := func() (can bool) {
			for _, f := range b.page.forms {
				can = can || f.method == "post" && f.action == "/app/logout"
			}
			return can
		}
		if b.get("/app/login"); signsOut() {
			t.Error("who is not signed in can sign out")
		}
		b.signIn("ada@example.com")
		for _, path := range []string{"/app/account", "/app/account/password", "/app/account/sessions", "/app/account/methods", "/app/account/delete", "/app/login", "/app/email", hers} {
			if b.get(path); b.page.status != http.StatusOK || !signsOut() {
				t.Errorf("%s: %d, without a way to sign out:\n%s", path, b.page.status, b.page.body)
			}
		}
		b.submit("/app/logout", nil)
		if b.want(http.StatusOK, "/app/login"); b.cookie() != "" {
			t.Error("there is still a cookie")
		}
	})
}
