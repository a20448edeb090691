package console_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/latchkey-go/latchkey/app/console"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Wherever the pages are, they lead to each other and nowhere else.
func TestPagesThatLiveElsewhereLeadToEachOther(t *testing.T) {
	o := options{pages: console.Options{Path: "/my/account", Name: "Example"}}
	eachWith(t, o, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.at = "/my/account"
		invite, err := s.users.SetupInvite(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.get("/my/account/invite?token=" + s.secret(s.users.InviteToken(invite, user.ByHand)))
		b.submit("/my/account/invite", fields("email", "ada@example.com", "password", password))
		if b.page.status != http.StatusOK || !strings.HasPrefix(b.page.path, "/my/account") {
			t.Fatalf("%d at %s", b.page.status, b.page.path)
		}
		seen := map[string]bool{}
		todo := []string{"/my/account"}
		for len(todo) > 0 {
			path := todo[0]
			todo = todo[1:]
			b.get(path)
			for _, word := range strings.Split(b.page.body, `href="`)[1:] {
				to, _, _ := strings.Cut(word, `"`)
				to, _, _ = strings.Cut(to, "?")
				if !strings.HasPrefix(to, "/my/account") && to != "#main" && to != "data:," {
					t.Errorf("%s leads to %s", path, to)
				}
				if strings.HasPrefix(to, "/my/account") && !seen[to] && len(seen) < 50 {
					seen[to] = true
					todo = append(todo, to)
				}
			}
			for _, f := range b.page.forms {
				if !strings.HasPrefix(f.action, "/my/account") {
					t.Errorf("%s sends a form to %s", path, f.action)
				}
			}
		}
		b.get("/app")
		if b.page.status != http.StatusNotFound {
			t.Errorf("/app: %d", b.page.status)
		}
	})
}

func TestPagesThatCannotBeAreRefused(t *testing.T) {
	_, err := console.New(console.Params{})
	if err == nil {
		t.Error("pages without services are made")
	}
	for name, o := range map[string]console.Options{
		"a path that is none":    {Path: "app"},
		"a path of the API":      {Path: "/admin/pages"},
		"a logo that is none":    {Logo: []byte("hello")},
		"a logo that is large":   {Logo: make([]byte, 300<<10)},
		"a template with faults": {Templates: fstest.MapFS{"login.html": {Data: []byte("{{")}}},
		"a file of no page":      {Templates: fstest.MapFS{"logins.html": {Data: []byte(`{{define "main"}}{{end}}`)}}},
		"a text of no page":      {Templates: fstest.MapFS{"texts.html": {Data: []byte(`{{define "login.titel"}}Hello{{end}}`)}}},
		"a text that is missing": {Templates: fstest.MapFS{"login.html": {Data: []byte(`{{define "main"}}{{template "nobody.knows"}}{{end}}`)}}},
	} {
		if _, err := console.New(console.Params{Users: &user.Service{}, Auth: &auth.Service{}, Options: o, Link: &link.Service{}}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := console.New(console.Params{Users: &user.Service{}, Auth: &auth.Service{}, Link: &link.Service{}}); err != nil {
		t.Errorf("plain ones are refused: %v", err)
	}
}
